"""Links, sessions and rules of the console, and the requests that it answers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import twisted.web.http
from treq.testing import StubTreq
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import fail
from twisted.internet.testing import StringTransport
from twisted.logger import formatEvent, globalLogPublisher

from errklein import BotPlugin, cmdfilter
from errklein.chat import Message
from errklein.config import load_config
from errklein.console import ConsoleServer
from errklein.listening._connections import ProxiedFactory
from errklein.running import Overloaded
from errklein.testing._surroundings import InlinePool
from tests.console.kit import ADDRESS, Browser, ConsoleCase
from tests.networks.irc.whole_bot import WholeBotCase

BUTTON = "Enter the console"
HOURS = timedelta(hours=8).total_seconds()


class Judge(BotPlugin):
    """Filters commands as the test says."""

    verdicts: list[Any] = [lambda *given: given]
    asked: list[tuple[str, str, bool]] = []

    @cmdfilter
    async def judged(self, msg: Message, cmd: str, args: str, dry_run: bool) -> Any:
        self.asked.append((cmd, args, dry_run))
        return self.verdicts[0](msg, cmd, args)


class LinkTests(ConsoleCase):
    """Links, and the sessions that they start."""

    def test_characters(self) -> None:
        """A link has nothing that chat takes for markup, such as underscores, which would change it."""
        self.assertRegex(self.link(), "^/enter/[0-9a-f]{64}$")

    def test_link(self) -> None:
        """A link shows a button, which starts a session. It works once."""
        link = self.link()
        self.assertIn(BUTTON, self.browser.get(link))
        self.assertIn("<h1>Overview</h1>", self.browser.press(BUTTON))
        other = Browser(self)
        other.get(link)
        other.press(BUTTON)
        self.assertEqual((other.status, other.cookies), (401, {}))

    def test_time(self) -> None:
        """A link is valid for two minutes."""
        for seconds, status in ((119, 200), (121, 401)):
            link, browser = self.link(), Browser(self)
            self.bot.advance(seconds)
            browser.get(link)
            browser.press(BUTTON)
            self.assertEqual(browser.status, status)

    def test_preview(self) -> None:
        """Programs that open a link to show a preview use nothing up, and learn nothing: an invented link looks the same."""
        link = self.link()
        preview = self.browser.get(link, **{"User-Agent": "Preview"})
        self.browser._send("HEAD", link, None, {})
        self.assertEqual(self.browser.status, 200)
        invented = f"/enter/{'A' * (len(link) - len('/enter/'))}"
        self.assertEqual(self.browser.get(invented).replace(invented, ""), preview.replace(link, ""))
        self.browser.get(link)
        self.browser.press(BUTTON)
        self.assertEqual(self.browser.status, 200)
        self.assertEqual(Browser(self).get(link), preview)

    def test_latest(self) -> None:
        """Only the latest five links of a person are valid, so that many commands don't fill the memory."""
        links = [self.link() for _ in range(6)]
        for link, status in zip(links, [401, 200, 200, 200, 200, 200], strict=True):
            browser = Browser(self)
            browser.get(link)
            browser.press(BUTTON)
            self.assertEqual(browser.status, status)

    def test_told(self) -> None:
        """Administrators are told of each login, also of a second one at once."""
        self.enter()
        self.enter()
        text = "@admin entered the console from 127.0.0.1. If that is wrong, !console end ends all sessions."
        self.bot.advance(0)
        self.assertEqual([str(one) for one in self.bot.messages if one.is_notice], [text, text])

    def test_unstored(self) -> None:
        """Neither the log, nor the journal, nor the history of commands has a link, a cookie or the token of forms."""
        with _log() as lines:
            browser = self.enter()
            browser.get("/deliveries")
            token = re.findall(r'name="form_token" value="([^"]+)"', browser.text)[0]
            history = "".join(self.bot.say("!history"))
        link = next(one for one in self.bot.messages if "/enter/" in one).rpartition("/")[2]
        for secret in (link, token, *browser.cookies.values()):
            self.assertGreater(len(secret), 40)
            self.assertNotIn(secret, "\n".join(lines))
            self.assertNotIn(secret, history)
            self.assertNotIn(secret, repr(self.server.sessions.__dict__))
        self.assertNotIn("!console", history)


class SessionTests(ConsoleCase):
    """Sessions, and how they end."""

    def test_nobody(self) -> None:
        """Without a session, each address says how to get one; a cookie that is invented or of the past doesn't help."""
        for cookies in ({}, {"errklein": "invented"}, {"errklein": ""}):
            self.browser.cookies = cookies
            for path in ("/", "/deliveries", "/deliveries/1"):
                self.assertIn("!console", self.browser.get(path))
                self.assertEqual(self.browser.status, 401)

    def test_eight_hours(self) -> None:
        """A session ends after eight hours, also if it is used."""
        browser = self.enter()
        self.bot.advance(HOURS - 1)
        browser.get("/")
        self.assertEqual(browser.status, 200)
        self.bot.advance(2)
        browser.get("/")
        self.assertEqual(browser.status, 401)

    def test_restart(self) -> None:
        """A session ends with the process."""
        browser = self.enter()
        self.open_console()
        browser.get("/")
        self.assertEqual(browser.status, 401)

    def test_leaving(self) -> None:
        """The button "Leave" ends the session, not only the cookie."""
        browser = self.enter()
        cookies = dict(browser.cookies)
        browser.press("Leave")
        browser.cookies = cookies
        browser.get("/")
        self.assertEqual(browser.status, 401)

    def test_end(self) -> None:
        """`!console end` ends all sessions and links."""
        browser, link = self.enter(), self.link()
        self.assertEqual(self.bot.command("!console end"), "Ended 1 session.")
        browser.get("/")
        self.assertEqual(browser.status, 401)
        browser.get(link)
        browser.press(BUTTON)
        self.assertEqual(browser.status, 401)

    def test_administrators_and_rules(self) -> None:
        """BOT_ADMINS and ACCESS_CONTROLS are read for each request, as `!config reload` has changed them."""
        for changes, reason in (
            ({"BOT_ADMINS": ("@bob",)}, "you are no administrator any more"),
            ({"ACCESS_CONTROLS": {"console": {"denyusers": ("@admin",)}}}, "rules don&#39;t let you use !console"),
        ):
            browser = self.enter()
            self.reload(changes)
            self.assertIn(reason, browser.get("/"))
            self.assertEqual(browser.status, 401)
            self.reload({})
            browser.get("/")
            # It has ended for good.
            self.assertEqual(browser.status, 401)

    def test_cookie(self) -> None:
        """Scripts, other sites and plain requests to the address with TLS don't get the cookie."""
        browser = Browser(self)
        browser.get(self.link())
        action = re.findall(r'action="([^"]+)"', browser.text)[0]
        response = self.wait(
            self.client.post(
                ADDRESS + action, headers={"Host": "localhost:9142", "Origin": ADDRESS}, allow_redirects=False
            )
        )
        [cookie] = response.headers.getRawHeaders("set-cookie")
        self.assertEqual(
            {part.strip().lower() for part in cookie.split(";")[1:]}, {"path=/", "httponly", "samesite=strict"}
        )

    def reload(self, changes: dict[str, Any]) -> None:
        """Read the configuration again, with these changes."""
        data = str(self.bot.config.BOT_DATA_DIR)
        given = {"BACKEND": "Test", "STORAGE": "Memory", "BOT_ADMINS": ("@admin",), "BOT_DATA_DIR": data, **changes}
        self.bot.bot.read_config = lambda: load_config(None, {"CHATROOM_PRESENCE": ("#testroom",), **given})
        self.bot.say("!config reload --force", "@admin" if self.is_admin("@admin") else "@bob")
        self.bot.messages.clear()
        self.bot.bot.read_config = None

    def is_admin(self, name: str) -> bool:
        """Return whether the bot takes commands for administrators from a person."""
        backend = self.bot.backend
        return self.bot.bot.dispatcher.disclosure.is_admin(backend, backend.build_identifier(name))


class RequestTests(ConsoleCase):
    """What requests must have, whoever sends them."""

    url = "https://console.example:8443"
    proxies = {"192.0.2.7": ["X-Forwarded-For", "X-Forwarded-Proto"]}

    def setUp(self) -> None:
        """Listen, in memory."""
        super().setUp()
        self.successResultOf(self.server.open())

    def test_hosts(self) -> None:
        """Other names that lead to this machine aren't answered, since a name server could send a browser here."""
        own = ("localhost", "LOCALHOST:9142", "127.0.0.1:1", "127.5.5.5", "[::1]:9142", "console.example:8443")
        foreign = (
            *(
                "evil.example",
                "evil.example:9142",
                "localhost.evil.example",
                "evil@localhost",
                "localhost@evil.example",
            ),
            *(
                "192.0.2.1",
                "console.example",
                "console.example:9142",
                "",
                "[::1",
                "[::1]evil",
                "localhost,evil.example",
            ),
            *("0.0.0.0", "127.0.0.1.evil.example", "\xff", "localhost:9142/", "127.1", "2130706433"),
        )
        for hosts, status in ((own, 200), (foreign, 403)):
            for host in hosts:
                self.assertEqual(self.raw(f"GET /enter/x HTTP/1.1\r\nHost: {host}\r\n"), status, host)
        self.assertEqual(self.raw("GET /enter/x HTTP/1.0\r\n"), 403)
        self.assertEqual(self.raw("GET /enter/x HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n"), 403)

    def test_clear(self) -> None:
        """Without TLS, only this machine and trusted proxies get an answer; a PROXY header isn't believed from others."""
        request = "GET /enter/x HTTP/1.1\r\nHost: localhost\r\n"
        here = (IPv4Address("TCP", "127.0.0.1", 1), IPv6Address("TCP", "::1", 1), UNIXAddress(None))
        mapped = IPv6Address("TCP", "::ffff:127.0.0.1", 1)
        proxy, other = IPv4Address("TCP", "192.0.2.7", 1), IPv4Address("TCP", "192.0.2.8", 1)
        for peer, status in ((here[0], 200), (here[1], 200), (here[2], 200), (mapped, 200), (proxy, 200), (other, 403)):
            self.assertEqual(self.raw(request, peer), status, peer)
        header = "PROXY TCP4 127.0.0.1 127.0.0.1 1 9142\r\n"
        for peer, status in ((proxy, 200), (other, 403)):
            self.assertEqual(self.raw(header + request, peer, proxied=True), status, peer)
        self.assertEqual(self.raw("PROXY UNKNOWN\r\n" + request, other, proxied=True), 403)
        # Of the header that a trusted proxy adds, only what it reports counts.
        self.assertEqual(self.raw(f"{request}X-Forwarded-For: 127.0.0.1\r\n", other), 403)

    def test_forms(self) -> None:
        """A form is only taken from a page of the same address, with the token of the session."""
        browser = self.enter()
        token = re.findall(r'name="form_token" value="([^"]+)"', browser.text)[0]
        origins = (
            "",
            "null",
            "https://localhost:9142",
            "http://localhost",
            "http://evil.example",
            f"{ADDRESS}.evil",
            ADDRESS,
        )
        for origin in origins:
            browser.post("/leave", {"form_token": token if origin != ADDRESS else ""}, Origin=origin)
            self.assertEqual(browser.status, 403, origin)
        for forged in (token[:-1], token + "x", token.swapcase(), "\u00e4", self._other_token()):
            browser.post("/leave", {"form_token": forged})
            self.assertEqual(browser.status, 403, forged)
        self.assertEqual(self.raw("POST /leave HTTP/1.1\r\nHost: localhost:9142\r\nContent-Length: 0\r\n"), 403)
        browser.get("/")
        self.assertEqual(browser.status, 200)
        # GET changes nothing, whatever it has.
        browser.get(f"/leave?form_token={token}")
        self.assertEqual(browser.status, 405)
        browser.get(f"/do/webhooks.replay?form_token={token}&words=1")
        self.assertEqual(browser.status, 405)

    def test_odd_requests(self) -> None:
        """What isn't valid gets a status of its own, without a traceback in the log: paths, fields, numbers, quotes."""
        browser = self.enter()
        token = re.findall(r'name="form_token" value="([^"]+)"', browser.text)[0]
        for path, status in (
            ("/%ff", 403),
            ("/enter/%c3%28", 403),
            ("/%00", 404),
            (f"/deliveries/{'9' * 20}", 404),
            (f"/deliveries/{'9' * 5000}/body", 404),
            (f"/?done={'9' * 5000}", 200),
        ):
            browser.get(path)
            self.assertEqual(browser.status, status, path)
        cookie = f"Cookie: errklein={browser.cookies['errklein']}\r\n"
        self.assertEqual(self.raw(f"GET / HTTP/1.1\r\nHost: localhost\r\n{cookie}Accept: \xff\r\n"), 200)
        many = {f"f{number}": "" for number in range(2000)}
        for fields in ({"words": "'"}, {"words": "\\"}, many):
            browser.post("/do/webhooks.replay", {"form_token": token, **fields})
            self.assertEqual(browser.status, 400)

    def test_large_forms(self) -> None:
        """A form of anybody isn't parsed: that would take a second for many fields, in which the bot does nothing else."""
        parsed: list[bytes] = []
        self.patch(twisted.web.http, "parse_qs", lambda given, *_: parsed.append(given) or {})
        kind = "Content-Type: application/x-www-form-urlencoded\r\n"
        head = f"POST /enter/x HTTP/1.1\r\nHost: localhost\r\n{kind}Content-Length: 4\r\n"
        self.assertEqual(self.raw(f"{head}Connection: close\r\n\r\na&b&"), 403)
        self.assertNotIn(b"a&b&", parsed)

    def test_many_strangers(self) -> None:
        """While the thread is busy, pages for anybody are still shown, without it, and a visitor gets 503."""
        browser, nobody = self.enter(), Browser(self)
        expected = {"/enter/x": 200, "/": 401, "/missing": 404}
        for path in expected:
            nobody.get(path)
        self.patch(InlinePool, "run", lambda *_, **__: fail(Overloaded("console", "its queue is full", 1.0)))
        for path, status in expected.items():
            nobody.get(path)
            self.assertEqual(nobody.status, status, path)
        self.assertIn("the console pool is overloaded", browser.get("/"))
        self.assertEqual(browser.status, 503)

    def test_back(self) -> None:
        """After an action, browsers only go to a page of the console."""
        browser = self.enter()
        token = re.findall(r'name="form_token" value="([^"]+)"', browser.text)[0]
        for back in (
            "//evil.example",
            "/\\evil.example",
            "http://evil.example",
            "/\r\nSet-Cookie: x=y",
            "/\x00",
            "/\u00e4",
            "",
        ):
            fields = {"form_token": token, "words": "1", "back": back}
            browser.post("/do/webhooks.replay", fields)
            self.assertTrue(browser.path.startswith("/?done="), browser.path)
        browser.post("/do/webhooks.replay", {"form_token": token, "words": "1", "back": "/deliveries?words=1"})
        self.assertTrue(browser.path.startswith("/deliveries?words=1&done="), browser.path)

    def test_forged_login(self) -> None:
        """Another site can't make a browser enter."""
        link = self.link()
        for origin in ("http://evil.example", "null", "https://localhost:9142"):
            self.browser.post(link, {}, Origin=origin)
            self.assertEqual((self.browser.status, self.browser.cookies), (403, {}))
        self.browser.post(link, {})
        self.assertEqual(self.browser.status, 200)

    def test_headers(self) -> None:
        """Each response forbids frames, scripts of others, guesses of the type, and storage; also a refusal."""
        browser = self.enter()
        for path, headers in (("/", {}), ("/missing", {}), ("/", {"Host": "evil.example"}), ("/enter/x", {})):
            browser.get(path, **headers)
            policy = browser.headers.getRawHeaders("content-security-policy")[0]
            self.assertIn("default-src 'none'", policy)
            self.assertIn("frame-ancestors 'none'", policy)
            self.assertNotIn("unsafe", policy)
            for name, value in {
                "x-frame-options": "DENY",
                "x-content-type-options": "nosniff",
                "cache-control": "no-store",
                "referrer-policy": "same-origin",
            }.items():
                self.assertEqual(browser.headers.getRawHeaders(name), [value], path)

    def test_behind_proxy(self) -> None:
        """Behind the proxy of CONSOLE_URL, the cookie needs TLS, and the login is told with the browser's address."""
        link = next(one for one in self.bot.say("!console") if "/enter/" in one)
        self.assertTrue(link.startswith(f"{self.url}/enter/"))
        path = link.removeprefix(self.url)
        head = "Host: console.example:8443\r\nX-Forwarded-For: 203.0.113.5\r\nContent-Length: 0\r\n"
        peer = IPv4Address("TCP", "192.0.2.7", 1)
        self.assertEqual(self.raw(f"POST {path} HTTP/1.1\r\n{head}Origin: http://console.example:8443\r\n", peer), 403)
        self.assertEqual(self.raw(f"POST {path} HTTP/1.1\r\n{head}Origin: {self.url}\r\n", peer), 303)
        self.assertRegex(self.received, r"(?i)set-cookie: __Host-errklein=[^;]+;.*Secure")
        self.assertIn("strict-transport-security:", self.received.lower())
        self.bot.advance(0)
        self.assertIn("@admin entered the console from 203.0.113.5.", self.bot.messages[-1])

    def raw(self, request: str, peer: Any = None, *, proxied: bool = False) -> int:
        """Return the status of the response to a request, whose bytes are sent as they are."""
        site = self.bot.bot.reactor.tcpServers[-1][1]
        factory = ProxiedFactory(self.bot.bot.reactor, site) if proxied else site
        transport = StringTransport(peerAddress=peer or IPv4Address("TCP", "127.0.0.1", 1))
        transport.abortConnection = transport.loseConnection  # type: ignore[method-assign,assignment]
        protocol = factory.buildProtocol(peer)
        protocol.makeConnection(transport)
        end = "" if "\r\n\r\n" in request else "Connection: close\r\n\r\n"
        protocol.dataReceived(f"{request}{end}".encode("latin-1"))
        for _ in range(20):
            self.bot.advance(0)
        self.received = transport.value().decode()
        return int(self.received.split()[1])

    def _other_token(self) -> str:
        return re.findall(r'name="form_token" value="([^"]+)"', self.enter().text)[0]


class FilterTests(ConsoleCase):
    """Filters of commands judge what visitors do."""

    plugins = (Judge,)

    def setUp(self) -> None:
        """Let filters pass everything until the test says something else."""
        super().setUp()
        self.patch(Judge, "verdicts", list(Judge.verdicts))
        self.patch(Judge, "asked", [])

    def test_verdicts(self) -> None:
        """A page is refused if a filter blocks, changes anything, or fails: it can't tell without a message."""
        browser = self.enter()

        def fails(*given: Any) -> Any:
            raise ValueError("no such sender")

        for verdict in (lambda *given: (None, None, None), lambda msg, cmd, args: (msg, cmd, f"{args} x"), fails):
            Judge.verdicts[0] = verdict
            self.assertIn("a filter of commands blocks it", browser.get("/deliveries"))
            self.assertEqual(browser.status, 403)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_dry_run(self) -> None:
        """Filters are asked with `dry_run` for pages, and in earnest for actions, with the arguments that the command has."""
        browser = self.enter()
        Judge.asked = []
        browser.get("/deliveries?words=dead")
        self.assertEqual({dry_run for _, _, dry_run in Judge.asked}, {True})
        self.assertTrue(any(cmd == "delivery_list" and args.startswith("dead") for cmd, args, _ in Judge.asked))
        Judge.asked = []
        token = re.findall(r'name="form_token" value="([^"]+)"', browser.text)[0]
        browser.post("/do/webhooks.replay", {"form_token": token, "words": "1 2"})
        self.assertIn(("delivery_replay", "1 2", False), Judge.asked)

    def test_leaving_meanwhile(self) -> None:
        """An action isn't performed if its person leaves while a filter judges it."""
        browser = self.enter()
        token = re.findall(r'name="form_token" value="([^"]+)"', browser.text)[0]

        def leave(*given: Any) -> Any:
            self.patch(type(self.bot.backend), "is_certain", lambda *_: False)
            return given

        Judge.verdicts[0] = leave
        text = browser.post("/do/webhooks.replay", {"form_token": token, "words": "1"})
        self.assertIn("no entry of BOT_ADMINS names you", text)
        # Without a redirection to the result.
        self.assertEqual(browser.path, "/do/webhooks.replay")


class RulesTests(ConsoleCase):
    """Access rules for single commands."""

    config = {
        "ACCESS_CONTROLS": {"delivery_replay": {"denyusers": ("@admin",)}, "delivery_list": {"denyargs": ("*dead*",)}}
    }

    def test_rules(self) -> None:
        """A rule of a command, also one for its arguments, holds for the page and the action."""
        browser = self.enter()
        browser.get("/deliveries")
        self.assertEqual(browser.status, 200)
        token = re.findall(r'name="form_token" value="([^"]+)"', browser.text)[0]
        browser.get("/deliveries?words=dead")
        self.assertEqual(browser.status, 403)
        browser.post("/do/webhooks.replay", {"form_token": token, "words": "1"})
        self.assertEqual(browser.status, 403)

    def test_unknown_action(self) -> None:
        """Only the operations of forms can be named: neither other operations nor attributes."""
        browser = self.enter()
        token = re.findall(r'name="form_token" value="([^"]+)"', browser.text)[0]
        for name in (
            "process.restart",
            "console.invite",
            "_bot.stop",
            "webhooks.__init__",
            "x",
            "webhooks.journal.close",
        ):
            browser.post(f"/do/{name}", {"form_token": token})
            self.assertEqual(browser.status, 404, name)


class NetworksTests(ConsoleCase):
    """Two networks with rules of their own."""

    networks = {
        "open": {"BOT_ADMINS": ("@admin",), "BACKEND": "Test"},
        "closed": {
            "BOT_ADMINS": ("@admin",),
            "BACKEND": "Test",
            "ACCESS_CONTROLS": {"delivery_list": {"denyusers": ("@admin",)}},
        },
    }

    def test_rules_of_the_network(self) -> None:
        """The rules are those of the visitor's network, not of another one with somebody of the same name."""
        for network, status in (("open", 200), ("closed", 403)):
            browser = self.enter_from(network)
            browser.get("/deliveries")
            self.assertEqual(browser.status, status, network)

    def test_network_removed(self) -> None:
        """A session ends with the network of its person."""
        browser = self.enter_from("closed")
        del self.bot.bot.backends["closed"]
        self.assertIn("the bot has no network closed any more", browser.get("/"))
        self.assertEqual(browser.status, 401)

    def enter_from(self, network: str) -> Browser:
        """Return the browser of the administrator on a network, who has entered."""
        backend, browser = self.bot.backends[network], Browser(self)
        self.bot.messages.clear()
        backend.receive("!console", frm="@admin")
        self.bot.advance(0)
        [link] = [one for one in self.bot.messages if "/enter/" in one]
        self.assertEqual((link.to, link.network), ("@admin", network))
        browser.get(path_of(link))
        browser.press(BUTTON)
        return browser


class RoomTests(ConsoleCase):
    """Administrators who may give the command in rooms."""

    config = {"ACCESS_CONTROLS": {"console": {"allowmuc": True}}}

    def test_private(self) -> None:
        """A link that was requested in a room is sent in private, and nothing else is said in the room."""
        [link] = self.bot.say("!console", "@admin", room="#testroom")
        self.assertEqual(link.to, "@admin")
        self.browser.get(path_of(link))
        self.assertIn("<h1>Overview</h1>", self.browser.press(BUTTON))


class StrangerTests(ConsoleCase):
    """People who aren't administrators."""

    def test_refused(self) -> None:
        """They get no link."""
        self.assertNotIn("/enter/", self.bot.command("!console", frm="@bob"))

    def test_network_without_certain_names(self) -> None:
        """On a network that doesn't vouch for names, such as one written for errbot, administrators use the shell."""
        self.patch(type(self.bot.backend), "is_certain", lambda *_: False)
        self.assertIn("errklein console-link", self.bot.command("!console"))
        self.assertNotIn("/enter/", "".join(self.bot.messages))

    def test_network_that_others_read(self) -> None:
        """No link is sent in clear."""
        self.patch(type(self.bot.backend), "is_encrypted", False)
        self.assertIn("others could read the link", self.bot.command("!console"))
        self.assertNotIn("/enter/", "".join(self.bot.messages))


class IRCTests(WholeBotCase):
    """Administrators on IRC, where anybody may take a nick."""

    settings = {
        "BOT_ADMINS": ("boss!*@office.example", "nick!*@*"),
        "BOT_IDENTITY": {"nickname": "errklein", "server": "irc.example"},
    }
    boss = "boss!~b@office.example"

    def setUp(self) -> None:
        """Open the console; boss is in #ops."""
        super().setUp()
        self.patch(type(self.test_bot.backends["irc"]), "is_encrypted", True)
        self.server.say(f":{self.boss} JOIN #ops")
        self.console = ConsoleServer(self.bot.reactor, "tcp:9142:interface=127.0.0.1", make_pool=InlinePool)
        self.console.watch(self.bot)
        self.addCleanup(lambda: self.successResultOf(self.console.close()))
        self.client = StubTreq(self.console.resource)

    def wait(self, result: Any) -> Any:
        """Return the result of a Deferred that needs some turns of the reactor."""
        found: list[Any] = []
        result.addBoth(found.append)
        for _ in range(100):
            self.client.flush()
            self.test_bot.reactor.advance(0)
        [value] = found
        return value

    def reply(self, mask: str, to: str = "errklein") -> str:
        """Return the bot's reply to !console."""
        return " ".join(self.replies_to(f":{mask} PRIVMSG {to} :!console"))

    def enter(self, mask: str) -> Browser:
        """Return the browser of a person who has entered."""
        browser = Browser(self)  # type: ignore[arg-type]
        found = re.search(r"/enter/[\w-]+", self.reply(mask))
        assert found is not None
        browser.get(found[0])
        browser.press(BUTTON)
        return browser

    def test_masks(self) -> None:
        """Only an entry with a host names somebody for certain: a nick that somebody else can take doesn't."""
        self.assertIn("/enter/", self.reply(self.boss))
        self.assertIn("errklein console-link", self.reply("nick!~n@office.example"))
        self.assertNotIn("/enter/", self.reply("boss!~b@elsewhere.example"))
        self.assertNotIn("/enter/", self.reply("other!~b@office.example"))

    def test_in_clear(self) -> None:
        """On a connection without TLS, no link is sent."""
        self.patch(type(self.test_bot.backends["irc"]), "is_encrypted", False)
        self.assertIn("others could read the link", self.reply(self.boss))

    def test_leaving(self) -> None:
        """The session ends when the person quits, leaves the rooms, or changes the nick, and doesn't come back with them."""
        for left in (f":{self.boss} QUIT :gone", f":{self.boss} NICK chief"):
            browser = self.enter(self.boss)
            self.assertEqual(browser.status, 200)
            self.server.say(left)
            self.assertIn("irc doesn&#39;t know you any more", browser.get("/"))
            self.assertEqual(browser.status, 401)
            self.server.say(f":{self.boss} JOIN #ops")
            browser.get("/")
            self.assertEqual(browser.status, 401)

    def test_taken(self) -> None:
        """Who takes the nick neither uses the link nor the session."""
        for taker in ("boss!~x@elsewhere.example", "boss!~x@office.example"):
            browser, link = self.enter(self.boss), path_of(self.reply(self.boss))
            self.server.say(f":{self.boss} QUIT :gone", f":{taker} JOIN #ops")
            browser.get("/")
            self.assertEqual(browser.status, 401)
            other = Browser(self)  # type: ignore[arg-type]
            other.get(link)
            other.press(BUTTON)
            self.assertEqual((other.status, other.cookies), (401, {}))
            self.server.say(f":{taker} QUIT :gone", f":{self.boss} JOIN #ops")


def path_of(link: str) -> str:
    """Return the path of the link in a message."""
    found = re.search(r"/enter/[\w-]+", link)
    assert found is not None
    return found[0]


@contextmanager
def _log() -> Iterator[list[str]]:
    """Return the lines of the log that are written in the context."""
    lines: list[str] = []

    def keep(event: Any) -> None:
        lines.append(f"{formatEvent(event)} {event}")

    globalLogPublisher.addObserver(keep)
    try:
        yield lines
    finally:
        globalLogPublisher.removeObserver(keep)
