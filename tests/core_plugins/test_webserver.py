"""Tests for the Webserver plugin, on real sockets."""

from __future__ import annotations

import re
import socket
import ssl
import tempfile
import textwrap
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.threads import deferToThread
from twisted.web.static import Data

from errklein import BotPlugin, webhook
from errklein.compat import flask
from errklein.core_plugins.webserver import endpoints
from errklein.listening.tls import generate_certificate
from errklein.testing import PluginTestCase
from tests import needs_network
from tests.processes import free_port
from tests.real_bot import RealBotCase, post, request


class ListeningCase(RealBotCase):
    """A bot with a certificate."""

    fixtures = ("simple",)

    async def setUp(self) -> None:
        """Generate a certificate for this machine."""
        await super().setUp()
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        self.key, self.certificate = folder / "key.pem", folder / "certificate.pem"
        generate_certificate(["localhost"], self.key, self.certificate)

    def ssl(self, port: int, **changes: Any) -> dict[str, Any]:
        """Return the SSL part of a configuration."""
        paths = {"certificate": str(self.certificate), "key": str(self.key)}
        return {"enabled": True, "host": "127.0.0.1", "port": port, **paths, **changes}

    async def ask_for(self, configuration: object) -> str:
        """Return the reply to a configuration."""
        return await self.command(f"!plugin config Webserver {configuration!r}")

    async def works(self, port: int, **tls: Any) -> None:
        """Assert that the plugin responds at the address."""
        answer = await request(port, "POST", "/test", **tls)
        self.assertEqual((answer.status, answer.text), (200, "OK"))

    async def is_closed(self, port: int, address: str = "127.0.0.1") -> None:
        """Assert that no server listens at the address."""
        refused = deferToThread(socket.create_connection, (address, port), 5)
        await self.assertFailure(refused, ConnectionRefusedError)


class ListeningTests(ListeningCase):
    """Endpoints that the configuration opens and closes."""

    async def test_endpoints(self) -> None:
        """ENDPOINTS opens further addresses, each once, and closes those that are removed from it."""
        port, other = free_port(), free_port()
        # Not below the working directory: a socket's path has at most 107 characters.
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        path = Path(folder.name) / "socket"
        more = [f"tcp:{other}:interface=127.0.0.1", f"unix:{path}", f"tcp:{port}:interface=127.0.0.1"]
        await self.configure(PORT=port, ENDPOINTS=more)
        await self.works(port)
        await self.works(other)
        self.assertTrue(path.is_socket())
        await self.configure(PORT=port, ENDPOINTS=[])
        await self.works(port)
        await self.is_closed(other)
        self.assertFalse(path.exists())

    async def test_others_endpoints_stay(self) -> None:
        """An endpoint of the command line isn't opened twice, and stays when the configuration changes."""
        port = free_port()
        await self.bot.web.listeners.open(f"tcp:{port}:interface=127.0.0.1")
        await self.command("!plugin activate Webserver")
        await self.configure(PORT=port)
        await self.works(port)
        other = await self.configure()
        await self.works(port)
        await self.works(other)
        await self.command("!plugin deactivate Webserver")
        await self.works(port)
        await self.is_closed(other)


SWITCH = """
    from errbot import BotPlugin, botcmd

    class Switch(BotPlugin):
        webserver = property(lambda self: self.get_plugin("Webserver"))

        @botcmd
        def off_in_thread(self, msg, args):
            return f"off: {self.webserver.deactivate()}"

        @botcmd
        def on_in_thread(self, msg, args):
            return f"on: {self.webserver.activate()}"

        @botcmd
        async def off_on_reactor(self, msg, args):
            self.deferred = self.webserver.deactivate()
            return "off"

        @botcmd
        async def on_on_reactor(self, msg, args):
            await self.webserver.activate()
            return "on"

        @botcmd
        def reconfigure_in_thread(self, msg, args):
            self.webserver.reconfigure({**self.webserver.config, "PORT": int(args)})
            return "reconfigured"

        def deactivate(self):
            self.webserver.deactivate()
            self.webserver_at_end = self.webserver.is_activated
            super().deactivate()
"""


class SwitchedTests(RealBotCase):
    """The plugin's methods, called by another plugin."""

    async def setUp(self) -> None:
        """Start a bot with a plugin that depends on Webserver."""
        needs_network()
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        (folder / "switch.plug").write_text("[Core]\nName = Switch\nModule = switch\nDependsOn = Webserver\n")
        (folder / "switch.py").write_text(textwrap.dedent(SWITCH))
        await self.start_bot(folder)
        self.port = await self.configure()

    async def listens(self) -> bool:
        """Return whether the server accepts connections."""
        try:
            (await deferToThread(socket.create_connection, ("127.0.0.1", self.port), 5)).close()
        except ConnectionRefusedError:
            return False
        return True

    async def test_on_the_reactor(self) -> None:
        """On the reactor, the methods return Deferreds; they run even if these aren't awaited."""
        self.assertEqual(await self.command("!off on reactor"), "off")
        await self.bot.plugin_manager.instance("Switch").deferred  # type: ignore[attr-defined]
        self.assertFalse(await self.listens())
        self.assertEqual(await self.command("!on on reactor"), "on")
        self.assertTrue(await self.listens())

    async def test_errors(self) -> None:
        """An error is raised at the call."""
        await self.command("!off in thread")
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", self.port))
            taken.listen()
            for command in ("!on in thread", "!on on reactor"):
                self.assertIn("is in use by another program", await self.command(command))
        self.flushLoggedErrors()

    async def test_reconfigured(self) -> None:
        """`reconfigure` moves the server."""
        self.port, old = free_port(), self.port
        self.assertEqual(await self.command(f"!reconfigure in thread {self.port}"), "reconfigured")
        self.assertTrue(await self.listens())
        self.port = old
        self.assertFalse(await self.listens())

    async def test_when_the_bot_stops(self) -> None:
        """A plain `deactivate` may call the methods while the bot stops."""
        switch: Any = self.bot.plugin_manager.instance("Switch")
        await self.bot.stop(1)
        self.assertFalse(switch.webserver_at_end)
        self.assertFalse(switch.is_activated)
        self.assertFalse(await self.listens())

    async def test_administration(self) -> None:
        """Administrators' commands work on the server, also after a plugin has started or stopped it."""
        await self.command("!off in thread")
        self.assertEqual(await self.command("!plugin activate Webserver"), "Plugin Webserver activated.")
        self.assertTrue(await self.listens())
        await self.command("!plugin deactivate Webserver")
        await self.command("!on in thread")
        self.assertEqual(await self.command("!plugin deactivate Webserver"), "Plugin Webserver deactivated.")
        self.assertFalse(await self.listens())


class RefusalTests(ListeningCase):
    """Invalid configurations, which leave the previous one in use."""

    async def setUp(self) -> None:
        """Set a valid configuration, and open a connection."""
        await super().setUp()
        self.port = await self.configure()
        self.open: socket.socket = await deferToThread(socket.create_connection, ("127.0.0.1", self.port), 5)
        self.addCleanup(self.open.close)

    async def stays(self, reply: str, *parts: str) -> None:
        """Assert that the reply names the problem, and that the server and the stored configuration are unchanged."""
        for part in parts:
            self.assertIn(part, reply)
        await self.works(self.port)
        await deferToThread(self.open.sendall, b"GET /test HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertEqual((await deferToThread(self.open.recv, 1000))[9:12], b"200")
        stored = self.bot.plugin_manager.configuration("Webserver")
        self.assertEqual(stored["PORT"], self.port)
        self.assertFalse(stored["SSL"]["enabled"])
        self.assertEqual(self.bot.web.listeners.open_now, [f"tcp:{self.port}:interface=127.0.0.1"])

    async def test_port_in_use(self) -> None:
        """The reply names the endpoint and the reason."""
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            reply = await self.ask_for({"HOST": "127.0.0.1", "PORT": port})
            await self.stays(reply, f"tcp:{port}", "is in use by another program")
            # Of what is new, nothing is left open if only a part of it can be.
            other = free_port()
            wanted = {"HOST": "127.0.0.1", "PORT": other, "ENDPOINTS": [f"tcp:{port}:interface=127.0.0.1"]}
            await self.ask_for(wanted)
            await self.is_closed(other)

    async def test_bad_certificate(self) -> None:
        """The reply names a certificate that is missing, invalid, or doesn't match the key."""
        port = free_port()
        empty = Path(self.mktemp()).absolute()
        empty.touch()
        other = Path(self.mktemp()).absolute()
        generate_certificate(["localhost"], other, empty.with_name("other_certificate.pem"))
        for changes, reason in (
            ({"certificate": "/nowhere/x.pem"}, "No such file"),
            ({"certificate": str(empty)}, "no certificate"),
            ({"key": str(empty)}, "no private key"),
            ({"key": str(other)}, "doesn't match"),
        ):
            (path,) = changes.values()
            wanted = {"HOST": "127.0.0.1", "PORT": port, "SSL": self.ssl(port, **changes)}
            reply = await self.ask_for(wanted)
            self.assertIn(path, reply)
            await self.stays(reply, reason)

    async def test_not_built_as_the_template(self) -> None:
        """The reply names a key that is missing, unknown or of the wrong type."""
        for change, part in (
            ({"PORT": 0}, "65535"),
            ({"ENDPOINTS": "tcp:80"}, "ENDPOINTS"),
            ({"ENDPOINTS": [80]}, "ENDPOINTS"),
        ):
            reply = await self.ask_for({"HOST": "127.0.0.1", "PORT": self.port, **change})
            self.assertIn("Incorrect plugin configuration", reply)
            self.assertIn(part, reply)
        reply = await self.ask_for({"HOST": "127.0.0.1", "PORT": self.port, "ENDPOINTS": ["nonsense"]})
        await self.stays(reply, "endpoint")
        reply = await self.ask_for({"HOST": "127.0.0.1", "PORT": self.port, "ENDPOINTS": ["carrier:pigeon"]})
        await self.stays(reply, "carrier")

    async def test_bad_address(self) -> None:
        """The reply names an address that isn't this machine's."""
        await self.stays(await self.ask_for({"HOST": "192.0.2.1", "PORT": free_port()}), "192.0.2.1")


class ChangeTests(ListeningCase):
    """Changes of open endpoints."""

    async def test_same_port_by_another_description(self) -> None:
        """The host, or HTTP and HTTPS, can change on one port; the old endpoint is reopened if the new one fails."""
        port = await self.configure()
        await self.configure(PORT=port, HOST="0.0.0.0")
        await self.works(port)
        bad = {"HOST": "127.0.0.1", "PORT": port, "SSL": self.ssl(port), "ENDPOINTS": ["tcp:1:interface=192.0.2.1"]}
        self.assertIn("192.0.2.1", await self.ask_for(bad))
        await self.works(port)
        await self.configure(PORT=port, SSL=self.ssl(port))
        await self.works(port, certificate=self.certificate)

    async def test_the_same_again_reads_the_certificate_again(self) -> None:
        """New certificate files under the old names are loaded when the same configuration is set again."""
        port = free_port()
        await self.configure(PORT=port, SSL=self.ssl(port))
        generate_certificate(["localhost"], self.key, self.certificate)
        with self.assertRaises(ssl.SSLError):
            await request(port, "POST", "/test", certificate=self.certificate)
        await self.configure(PORT=port, SSL=self.ssl(port))
        await self.works(port, certificate=self.certificate)

    async def test_no_request_is_lost(self) -> None:
        """An endpoint that stays in the configuration is served without a gap during twenty changes."""
        port = free_port()
        await self.configure(PORT=port)
        answers = []
        for _ in range(20):
            answers += [Deferred.fromCoroutine(post(port, "/test")) for _ in range(3)]
            await self.configure(PORT=port, ENDPOINTS=[f"tcp:{free_port()}:interface=127.0.0.1"])
        results = await DeferredList(answers)
        self.assertEqual([(good, answer.status) for good, answer in results], [(True, 200)] * 60)


class CertificateTests(ListeningCase):
    """`!generate certificate`."""

    async def test_names_that_are_none(self) -> None:
        """An invalid host name gets a reply with the reason, and no file is written."""
        await self.configure()
        _, problem = await self.say("!generate certificate zoë.example", replies=2)
        self.assertIn("zoë.example", problem)
        self.assertEqual(list(Path(self.bot.bot_config.BOT_DATA_DIR).glob("webserver_*")), [])


class Mirror(BotPlugin):
    """A plugin that records requests."""

    @webhook(raw=True)
    def mirror(self, request: Any) -> Any:
        return f"{request.content_type} {request.get_data(as_text=True)}", 202, {"X-Seen": "yes"}

    @webhook(raw=True)
    def query(self, request: Any) -> str:
        return str(request.args.to_dict())

    @webhook
    def link(self, payload: Any) -> str:
        return f"{flask.request.remote_addr} {flask.url_for('link', _external=True)}"

    @webhook
    def fails(self, payload: Any) -> str:
        raise RuntimeError("s3cret")


class WebhookTestTests(PluginTestCase):
    """`!webhook test` and `!webstatus`, without sockets."""

    plugins = (Mirror,)

    def setUp(self) -> None:
        """Configure the plugin without opening sockets."""
        super().setUp()
        self.command("!plugin config Webserver {'HOST': '127.0.0.1', 'PORT': 3141}")

    def test_answer(self) -> None:
        """The report contains the status, the headers and the body of the response."""
        report = self.command("!webhook test /mirror hello world")
        for part in (
            "*** Test Report",
            "URL: /mirror",
            "hello world",
            "Detected your post as: text/plain",
            "Status code: 202",
            "X-Seen: yes",
            "X-Request-Id: ",
            "text/plain hello world",
        ):
            self.assertIn(part, report)

    def test_name(self) -> None:
        """A webhook may be named instead of its URL."""
        report = self.command("!webhook test Mirror:mirror hello")
        self.assertIn("URL: /mirror", report)
        self.assertIn("text/plain hello", report)

    def test_content_type(self) -> None:
        """The content type is JSON, a form that contains JSON, or text, by errbot's rules."""
        for content, kind in (
            ('{"a": 1}', "application/json"),
            ("7", "application/json"),
            ("payload=%7B%22a%22%3A1%7D", "application/x-www-form-urlencoded"),
            ("payload=[1]", "application/x-www-form-urlencoded"),
            ("payload=hello", "text/plain"),
            ("{'a': 1}", "text/plain"),
            ("[" * 5_000, "text/plain"),
            ("", "text/plain"),
        ):
            report = self.command(f"!webhook test /nowhere {content}")
            self.assertIn(f"Detected your post as: {kind}\n", report)

    def test_url(self) -> None:
        """The leading slash is optional, a query is kept, and a missing URL means the root."""
        self.assertIn("202", self.command("!webhook test mirror"))
        self.assertIn("{'a': '1'}", self.command("!webhook test /query?a=1"))
        self.assertIn("404", self.command("!webhook test"))
        self.assertIn("404", self.command("!webhook test //mirror/nowhere"))

    def test_errors(self) -> None:
        """A failing webhook is reported as its client would see it, without the error; administrators are notified."""
        warning, report = self.bot.say("!webhook test /fails")
        self.assertIn("Mirror:fails", warning)
        self.assertIn("Status code: 500", report)
        self.assertNotIn("s3cret", report)
        self.flushLoggedErrors(RuntimeError)

    def test_nothing_breaks_out_of_its_fence(self) -> None:
        """Content with line breaks, backticks and markup is shown literally, and sends no other request."""
        content = "a\r\n```\n# b\n````\n[x](y) <b>\n~~~ DELETE /x HTTP/1.1"
        before = len(self.bot.messages)
        report = self.command(f"!webhook test /mirror {content}")
        self.assertEqual(len(self.bot.messages), before + 1)
        (sent,) = self.bot.backend.sent[before:]
        for line in ("# b", "````", "[x](y) <b>"):
            self.assertIn(line, report.splitlines())
        self.assertIn("`````\na", sent.message.body)
        for url in ("/`x`", "/*x*", "/<b>"):
            self.assertIn(f"URL: {url}\n", self.command(f"!webhook test {url}"))


class PublicURLTests(PluginTestCase):
    """A bot behind a proxy, by the settings of its configuration."""

    plugins = (Mirror,)
    config = {
        "WEBHOOK_BASE_PATH": "/bot/",
        "PUBLIC_URL": "https://bot.example.net/",
        "TRUSTED_PROXIES": {"127.0.0.1": "X-Forwarded-For"},
    }

    def test_status(self) -> None:
        """`!webstatus` shows the full URLs of webhooks and mounts, which lead to them."""
        self.command("!plugin config Webserver {'HOST': '127.0.0.1', 'PORT': 3141}")
        self.bot.plugin("Mirror").mount("/board", Data(b"the board", "text/plain"))
        urls = re.findall(r"https://bot\.example\.net/bot/\w+(?= -> )", self.command("!webstatus"))
        self.assertIn("https://bot.example.net/bot/link", urls)
        self.assertIn("https://bot.example.net/bot/board", urls)
        for url in urls:
            self.assertNotEqual(self.request("OPTIONS", url).status, 404, url)

    def test_requests(self) -> None:
        """Handlers get the client's address, and links below the public URL."""
        response = self.post("/bot/link", headers={"X-Forwarded-For": "192.0.2.1"})
        self.assertEqual(response.text, "192.0.2.1 https://bot.example.net/bot/link")


class VerificationTests(PluginTestCase):
    """Webhooks with options."""

    plugins = (Mirror,)
    config = {
        "WEBHOOKS": {"Mirror:link": {"verify": "bearer", "secret": "env:NO_SUCH_SECRET", "ack": "now", "rate": "9/min"}}
    }

    def test_status(self) -> None:
        """`!webstatus` shows the verification and the limits of each webhook."""
        self.command("!plugin config Webserver {'HOST': '127.0.0.1', 'PORT': 3141}")
        options = 'verified by bearer, ack="now", at most 9/min'
        shown = self.command("!webstatus")
        self.assertRegex(shown, rf"/link -> Mirror:link \[.*\], {options}\n")
        self.assertRegex(shown, r"/echo -> Webserver:echo \[.*\], not verified\n")


class EchoTests(PluginTestCase):
    """The webhook `/echo`, which anybody may call."""

    config = {"WEBHOOK_CLIENT_RATE": "3/min"}

    def test_is_never_recorded(self) -> None:
        """No request is recorded, also a refused one, and one while the webhook is paused, which runs at once."""
        self.assertEqual(self.post("/echo", data=b"1").text, "1")
        self.command("!webhook pause Webserver:echo")
        self.assertEqual([self.post("/echo", data=b"2").status for _ in range(3)], [200, 200, 429])
        self.bot.advance(1)
        self.assertEqual(self.command("!delivery list"), "No delivery matches.")

    def test_other_name(self) -> None:
        """`!webhook list` is another name of `!webstatus`, for everyone."""
        self.command("!plugin config Webserver {'HOST': '127.0.0.1', 'PORT': 3141}")
        self.assertEqual(self.command("!webhook list", frm="bob"), self.command("!webstatus"))

    def test_rate(self) -> None:
        """Each client has a rate, which is that of requests that aren't verified."""
        self.assertEqual([self.post("/echo").status for _ in range(4)], [200, 200, 200, 429])
        self.bot.advance(20)
        self.assertEqual([self.post("/echo").status for _ in range(2)], [200, 429])


class EndpointsTests(PluginTestCase):
    """Endpoint strings of a configuration."""

    def test_endpoints(self) -> None:
        """They are HTTP or HTTPS, then ENDPOINTS; colons in paths and addresses are quoted."""
        secure = {"enabled": True, "host": "::1", "port": 2, "certificate": "/c:d", "key": "/k"}
        plain = {**secure, "enabled": False}
        common: dict[str, Any] = {"HOST": "::", "PORT": 1, "ENDPOINTS": ["unix:/x"]}
        self.assertEqual(endpoints({**common, "SSL": plain}), [r"tcp:1:interface=\:\:", "unix:/x"])
        self.assertEqual(
            endpoints({**common, "SSL": secure}),
            [r"ssl:2:privateKey=/k:certKey=/c\:d:interface=\:\:1", "unix:/x"],
        )
        self.assertEqual(endpoints(None), [])
