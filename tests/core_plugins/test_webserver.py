"""Tests for the Webserver plugin, on real sockets where it listens."""

from __future__ import annotations

import ast
import socket
import ssl
import stat
import tempfile
import textwrap
from pathlib import Path
from typing import Any

from cryptography import x509
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.threads import deferToThread

from errklein import BotPlugin, webhook
from errklein.core_plugins.webserver import endpoints
from errklein.testing import PluginTestCase
from errklein.web.tls import generate_certificate
from tests import needs_network
from tests.processes import free_port
from tests.real_bot import RealBotCase, post, request


class ListeningCase(RealBotCase):
    """Has a certificate."""

    fixtures = ("simple",)

    async def setUp(self) -> None:
        """Make a certificate for this machine."""
        await super().setUp()
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        self.key, self.certificate = folder / "key.pem", folder / "certificate.pem"
        generate_certificate(["localhost"], self.key, self.certificate)

    def ssl(self, port: int, **changes: Any) -> dict[str, Any]:
        """The SSL part of a configuration."""
        paths = {"certificate": str(self.certificate), "key": str(self.key)}
        return {"enabled": True, "host": "127.0.0.1", "port": port, **paths, **changes}

    async def ask_for(self, configuration: object) -> str:
        """The reply to a configuration."""
        return await self.command(f"!plugin config Webserver {configuration!r}")

    async def works(self, port: int, **tls: Any) -> None:
        """Assert that the plugin answers there."""
        answer = await request(port, "POST", "/test", **tls)
        self.assertEqual((answer.status, answer.text), (200, "OK"))

    async def is_closed(self, port: int, address: str = "127.0.0.1") -> None:
        """Assert that nobody listens there."""
        refused = deferToThread(socket.create_connection, (address, port), 5)
        await self.assertFailure(refused, ConnectionRefusedError)


class ListeningTests(ListeningCase):
    """What listens, and when."""

    async def test_unconfigured(self) -> None:
        """Without a configuration nothing listens, and the plugin's state is C, also after an attempt that failed."""
        self.assertIn("│ C      │ Webserver", await self.command("!status plugins"))
        self.assertIn("Incorrect plugin configuration", await self.ask_for({"HOST": "127.0.0.1"}))
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            reply = await self.ask_for({"HOST": "127.0.0.1", "PORT": port})
        self.assertIn("Address already in use", reply)
        self.assertIn("│ C      │ Webserver", await self.command("!status plugins"))
        self.assertEqual(self.bot.web.listeners.open_now, [])
        self.flushLoggedErrors()

    async def test_bound_before_it_says_so(self) -> None:
        """When the reply is there a connection is accepted."""
        port = await self.configure()
        (await deferToThread(socket.create_connection, ("127.0.0.1", port), 5)).close()
        self.assertIn("│ A      │ Webserver", await self.command("!status plugins"))

    async def test_https_instead_of_http(self) -> None:
        """With SSL enabled HTTPS is served on SSL.host and SSL.port alone, plain HTTP is off; and back again."""
        port = await self.configure()
        tls_port = free_port()
        await self.configure(PORT=port, SSL=self.ssl(tls_port, host="127.0.0.2"))
        await self.is_closed(port)
        await self.is_closed(tls_port)
        self.assertEqual(await self.https("127.0.0.2", tls_port), 200)
        await self.configure(PORT=port)
        await self.works(port)
        await self.is_closed(tls_port, "127.0.0.2")

    async def https(self, address: str, port: int) -> int:
        """The status of a request to an address by HTTPS."""

        def exchange() -> int:
            context = ssl.create_default_context(cafile=self.certificate)
            plain = socket.create_connection((address, port), 5)
            with context.wrap_socket(plain, server_hostname="localhost") as secure:
                secure.sendall(b"POST /test HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
                return int(secure.recv(1000)[9:12])

        return await deferToThread(exchange)

    async def test_a_silent_client_holds_up_nobody(self) -> None:
        """A client that connects and begins no handshake keeps nobody from HTTPS."""
        tls_port = free_port()
        await self.configure(SSL=self.ssl(tls_port))
        with await deferToThread(socket.create_connection, ("127.0.0.1", tls_port), 5):
            await self.works(tls_port, certificate=self.certificate)

    async def test_endpoints(self) -> None:
        """ENDPOINTS opens others, each once, and closes them when they are gone from it."""
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

    async def test_deactivation(self) -> None:
        """A deactivated plugin listens no more, and listens again when it is activated."""
        port = await self.configure()
        await self.command("!plugin deactivate Webserver")
        await self.is_closed(port)
        await self.command("!plugin activate Webserver")
        await self.works(port)
        await self.command("!plugin reload Webserver")
        await self.works(port)

    async def test_others_endpoints_stay(self) -> None:
        """What was opened on the command line isn't opened twice, and stays when the plugin's configuration changes."""
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
        """Have a plugin that depends on Webserver."""
        needs_network()
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        (folder / "switch.plug").write_text("[Core]\nName = Switch\nModule = switch\nDependsOn = Webserver\n")
        (folder / "switch.py").write_text(textwrap.dedent(SWITCH))
        await self.start_bot(folder)
        self.port = await self.configure()

    async def listens(self) -> bool:
        """Whether the server accepts connections."""
        try:
            (await deferToThread(socket.create_connection, ("127.0.0.1", self.port), 5)).close()
        except ConnectionRefusedError:
            return False
        return True

    async def test_in_a_thread(self) -> None:
        """A plain method gets nothing back from them, and by then the server has stopped or started."""
        self.assertEqual(await self.command("!off in thread"), "off: None")
        self.assertFalse(await self.listens())
        self.assertIn("not found", await self.command("!webstatus"))
        self.assertEqual(await self.command("!on in thread"), "on: None")
        self.assertTrue(await self.listens())
        self.assertIn("/echo", await self.command("!webstatus"))

    async def test_on_the_reactor(self) -> None:
        """Code on the reactor may await them; they run even if it doesn't."""
        self.assertEqual(await self.command("!off on reactor"), "off")
        await self.bot.plugin_manager.instance("Switch").deferred  # type: ignore[attr-defined]
        self.assertFalse(await self.listens())
        self.assertEqual(await self.command("!on on reactor"), "on")
        self.assertTrue(await self.listens())

    async def test_errors(self) -> None:
        """What goes wrong is raised where the method was called."""
        await self.command("!off in thread")
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", self.port))
            taken.listen()
            for command in ("!on in thread", "!on on reactor"):
                self.assertIn("Address already in use", await self.command(command))
        self.flushLoggedErrors()

    async def test_reconfigured(self) -> None:
        """`reconfigure` moves the server."""
        self.port, old = free_port(), self.port
        self.assertEqual(await self.command(f"!reconfigure in thread {self.port}"), "reconfigured")
        self.assertTrue(await self.listens())
        self.port = old
        self.assertFalse(await self.listens())

    async def test_when_the_bot_stops(self) -> None:
        """A plain `deactivate` may use them while the bot stops, as at any other time."""
        switch: Any = self.bot.plugin_manager.instance("Switch")
        await self.bot.stop(1)
        self.assertFalse(switch.webserver_at_end)
        self.assertFalse(switch.is_activated)
        self.assertFalse(await self.listens())

    async def test_administration(self) -> None:
        """Whoever switched the server, administrators' commands work on it."""
        await self.command("!off in thread")
        self.assertEqual(await self.command("!plugin activate Webserver"), "Plugin Webserver activated.")
        self.assertTrue(await self.listens())
        await self.command("!plugin deactivate Webserver")
        await self.command("!on in thread")
        self.assertEqual(await self.command("!plugin deactivate Webserver"), "Plugin Webserver deactivated.")
        self.assertFalse(await self.listens())


class RefusalTests(ListeningCase):
    """Configurations that can't be used leave the one before at work."""

    async def setUp(self) -> None:
        """Have a configuration that works, and a connection through it."""
        await super().setUp()
        self.port = await self.configure()
        self.open: socket.socket = await deferToThread(socket.create_connection, ("127.0.0.1", self.port), 5)
        self.addCleanup(self.open.close)

    async def stays(self, reply: str, *parts: str) -> None:
        """Assert that the reply says what is wrong, and that server and stored configuration are as before."""
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
            await self.stays(reply, f"tcp:{port}", "Address already in use")
            # Of what is new, nothing is left open if only a part of it can be.
            other = free_port()
            wanted = {"HOST": "127.0.0.1", "PORT": other, "ENDPOINTS": [f"tcp:{port}:interface=127.0.0.1"]}
            await self.ask_for(wanted)
            await self.is_closed(other)

    async def test_bad_certificate(self) -> None:
        """A certificate that isn't there, is none, or isn't the key's is named."""
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
        """What is missing, unknown or of the wrong kind is named."""
        for change, part in (
            ({"PORT": None}, "PORT"),
            ({"PORT": "80"}, "PORT"),
            ({"PORT": 0}, "65535"),
            ({"HOST": 1}, "HOST"),
            ({"COLOUR": 1}, "COLOUR"),
            ({"SSL": True}, "SSL"),
            ({"SSL": {"enabled": 1}}, "enabled"),
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
        """An address that isn't this machine's is named."""
        await self.stays(await self.ask_for({"HOST": "192.0.2.1", "PORT": free_port()}), "192.0.2.1")


class ChangeTests(ListeningCase):
    """Changes of what already listens."""

    async def test_same_port_by_another_description(self) -> None:
        """Host, or HTTP to HTTPS, can change on one port; and what was there comes back if the new can't be opened."""
        port = await self.configure()
        await self.configure(PORT=port, HOST="0.0.0.0")
        await self.works(port)
        bad = {"HOST": "127.0.0.1", "PORT": port, "SSL": self.ssl(port), "ENDPOINTS": ["tcp:1:interface=192.0.2.1"]}
        self.assertIn("192.0.2.1", await self.ask_for(bad))
        await self.works(port)
        await self.configure(PORT=port, SSL=self.ssl(port))
        await self.works(port, certificate=self.certificate)

    async def test_the_same_again_reads_the_certificate_again(self) -> None:
        """New files under the old names are in use after the same configuration was given once more."""
        port = free_port()
        await self.configure(PORT=port, SSL=self.ssl(port))
        generate_certificate(["localhost"], self.key, self.certificate)
        with self.assertRaises(ssl.SSLError):
            await request(port, "POST", "/test", certificate=self.certificate)
        await self.configure(PORT=port, SSL=self.ssl(port))
        await self.works(port, certificate=self.certificate)

    async def test_no_request_is_lost(self) -> None:
        """While the configuration changes twenty times, what it has in common is served without a gap."""
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

    async def generate(self, args: str = "") -> tuple[dict[str, Any], x509.Certificate]:
        """What is recommended, and the certificate."""
        await self.configure(HOST="127.0.0.1")
        begun, done, recommendation, configuration = await self.say(f"!generate certificate {args}", replies=4)
        self.assertIn("Generating", begun)
        self.assertIn("successfully generated", done)
        self.assertIn("is recommended", recommendation)
        suggested = ast.literal_eval(configuration.strip())
        return suggested, x509.load_pem_x509_certificate(Path(suggested["SSL"]["certificate"]).read_bytes())

    async def test_certificate(self) -> None:
        """It is X.509 v3, for the names and addresses that were given, this machine and the configured host."""
        suggested, certificate = await self.generate("bot.example.org 192.0.2.7 2001:db8::1")
        self.assertEqual(certificate.version, x509.Version.v3)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        self.assertEqual(set(names.get_values_for_type(x509.DNSName)), {"bot.example.org", "localhost"})
        addresses = {str(address) for address in names.get_values_for_type(x509.IPAddress)}
        self.assertEqual(addresses, {"192.0.2.7", "2001:db8::1", "127.0.0.1", "::1"})
        key = Path(suggested["SSL"]["key"])
        self.assertEqual(stat.S_IMODE(key.stat().st_mode), 0o600)
        self.assertEqual(key.parent, Path(self.bot.bot_config.BOT_DATA_DIR))

    async def test_only_suggested(self) -> None:
        """The configuration stays as it was; what is suggested is right as it is pasted."""
        before = self.bot.plugin_manager.configuration("Webserver")
        suggested, _ = await self.generate()
        after = self.bot.plugin_manager.configuration("Webserver")
        self.assertFalse(after["SSL"]["enabled"])
        self.assertIsNone(before)
        self.assertEqual((suggested["SSL"]["host"], suggested["SSL"]["port"]), ("127.0.0.1", after["PORT"] + 1))
        self.assertEqual(set(suggested), set(after))
        await self.works(after["PORT"])

    async def test_names_that_are_none(self) -> None:
        """What can't stand in a certificate is told, and no file is left."""
        await self.configure()
        _, problem = await self.say("!generate certificate zoë.example", replies=2)
        self.assertIn("zoë.example", problem)
        self.assertEqual(list(Path(self.bot.bot_config.BOT_DATA_DIR).glob("webserver_*")), [])

    async def test_admins_only(self) -> None:
        """Others can't make one."""
        await self.configure()
        self.assertIn("requires bot-admin", await self.command("!generate certificate", frm="@bob"))


class Mirror(BotPlugin):
    """Shows what arrives."""

    @webhook(raw=True)
    def mirror(self, request: Any) -> Any:
        return f"{request.content_type} {request.get_data(as_text=True)}", 202, {"X-Seen": "yes"}

    @webhook(raw=True)
    def query(self, request: Any) -> str:
        return str(request.args.to_dict())

    @webhook
    def fails(self, payload: Any) -> str:
        raise RuntimeError("s3cret")


class WebhookTestTests(PluginTestCase):
    """`!webhook test` and `!webstatus`, in memory."""

    plugins = (Mirror,)

    def setUp(self) -> None:
        """Configure the plugin; the testing kit's sockets are nowhere."""
        super().setUp()
        self.command("!plugin config Webserver {'HOST': '127.0.0.1', 'PORT': 3141}")

    def test_answer(self) -> None:
        """The report has the status, the headers and the body of the answer."""
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

    def test_content_type(self) -> None:
        """JSON, a form with JSON in it, or text, as errbot guesses."""
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
        """The slash in front may be missing, a query is kept, and without any URL it is the root."""
        self.assertIn("202", self.command("!webhook test mirror"))
        self.assertIn("{'a': '1'}", self.command("!webhook test /query?a=1"))
        self.assertIn("404", self.command("!webhook test"))
        self.assertIn("404", self.command("!webhook test //mirror/nowhere"))

    def test_errors(self) -> None:
        """What fails is reported as its sender would see it, without what the error says; admins have heard of it."""
        warning, report = self.bot.say("!webhook test /fails")
        self.assertIn("Mirror.fails", warning)
        self.assertIn("Status code: 500", report)
        self.assertNotIn("s3cret", report)
        self.flushLoggedErrors(RuntimeError)

    def test_nothing_breaks_out_of_its_fence(self) -> None:
        """Content with line breaks, backticks and markup is shown as it is, and sends no request of its own."""
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

    def test_admins_only(self) -> None:
        """Others may see the routes, but send nothing."""
        self.assertIn("requires bot-admin", self.command("!webhook test /mirror", frm="@bob"))
        self.assertIn("/mirror", self.command("!webstatus", frm="@bob"))

    def test_webstatus(self) -> None:
        """Every route is listed with its plugin and verbs, whatever is in its rule, and where the server listens."""
        status = self.command("!webstatus")
        for part in ("/echo -> Webserver.echo", "/mirror -> Mirror.mirror", "POST", "tcp:3141:interface=127.0.0.1"):
            self.assertIn(part, status)

    def test_echo(self) -> None:
        """/echo answers with what was understood."""
        answer = self.post("/echo", json=["foo", {"bar": ["baz", None, 1.0, 2]}])
        self.assertEqual(answer.text, "['foo', {'bar': ['baz', None, 1.0, 2]}]")
        self.assertEqual(self.post("/echo", data="hello").text, "hello")
        self.assertEqual(answer.header("content-type"), "text/plain; charset=utf-8")


class EndpointsTests(PluginTestCase):
    """What a configuration means."""

    def test_endpoints(self) -> None:
        """HTTP or HTTPS, then ENDPOINTS; colons in paths and addresses are quoted."""
        secure = {"enabled": True, "host": "::1", "port": 2, "certificate": "/c:d", "key": "/k"}
        plain = {**secure, "enabled": False}
        common: dict[str, Any] = {"HOST": "::", "PORT": 1, "ENDPOINTS": ["unix:/x"]}
        self.assertEqual(endpoints({**common, "SSL": plain}), [r"tcp:1:interface=\:\:", "unix:/x"])
        self.assertEqual(
            endpoints({**common, "SSL": secure}),
            [r"ssl:2:privateKey=/k:certKey=/c\:d:interface=\:\:1", "unix:/x"],
        )
        self.assertEqual(endpoints(None), [])
