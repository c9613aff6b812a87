"""A bot with a console, and a browser without JavaScript that uses it, all in memory."""

from __future__ import annotations

import re
from html import unescape
from typing import Any
from urllib.parse import urlsplit

from treq.testing import StubTreq
from twisted.trial.unittest import SynchronousTestCase

from errklein.console import ConsoleServer
from errklein.plugins import BotPlugin
from errklein.testing import TestBot
from errklein.testing._surroundings import InlinePool

ADDRESS = "http://localhost:9142"
_FORM = re.compile(r'<form method="post" action="([^"]*)">(.*?)</form>', re.DOTALL)
_FIELD = re.compile(r'<input type="hidden" name="([^"]*)" value="([^"]*)">')


class Browser:
    """A browser, with the cookies that it has got."""

    def __init__(self, case: ConsoleCase) -> None:
        self._case = case
        self.cookies: dict[str, str] = {}
        self.status = 0
        self.headers: Any = None
        self.text = ""
        self.path = "/"

    def get(self, path: str, **headers: str) -> str:
        """Load a page, follow redirections, and return its text."""
        return self._send("GET", path, None, headers)

    def post(self, path: str, fields: dict[str, str] | None = None, **headers: str) -> str:
        """Send a form, as from a page of the console."""
        return self._send("POST", path, fields or {}, {"Origin": ADDRESS, **headers})

    def press(self, label: str, **fields: str) -> str:
        """Press the button with that label on the page, after filling in these fields."""
        for action, content in _FORM.findall(self.text):
            if f"<button>{label}</button>" in content:
                hidden = {unescape(name): unescape(value) for name, value in _FIELD.findall(content)}
                return self.post(unescape(action), {**hidden, **fields})
        raise AssertionError(f"no button {label} on {self.path}: {self.text}")

    def _send(self, method: str, path: str, fields: dict[str, str] | None, headers: dict[str, str]) -> str:
        own = {
            "Host": "localhost:9142",
            **({"Cookie": "; ".join(f"{k}={v}" for k, v in self.cookies.items())} if self.cookies else {}),
        }
        response = self._case.wait(
            self._case.client.request(
                method, ADDRESS + path, data=fields, headers={**own, **headers}, allow_redirects=False
            )
        )
        # The client is shared by all browsers, and would send the cookies of one for another.
        response._cookiejar.clear()
        self.status, self.headers, self.path = response.code, response.headers, path
        for cookie in response.headers.getRawHeaders("set-cookie", ()):
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value
        self.text = self._case.wait(response.text())
        if to := response.headers.getRawHeaders("location"):
            return self.get(urlsplit(to[0])._replace(scheme="", netloc="").geturl())
        return self.text


class ConsoleCase(SynchronousTestCase):
    """A test with a bot that has `plugins` and runs, and its console."""

    plugins: tuple[type[BotPlugin], ...] = ()
    config: dict[str, Any] = {}
    networks: dict[str, dict[str, Any]] | None = None

    url = ""
    proxies: dict[str, list[str]] = {}
    """CONSOLE_URL and TRUSTED_PROXIES, as the console knows them."""

    def setUp(self) -> None:
        """Start the bot, and a browser of nobody."""
        self.bot = TestBot(self.plugins, config=self.config, networks=self.networks)
        self.bot.start()
        self.addCleanup(self.bot.stop)
        self.open_console()

    def open_console(self) -> None:
        """Open the console of the bot, and a browser of nobody."""
        endpoint = "tcp:9142:interface=127.0.0.1"
        self.server = ConsoleServer(self.bot.bot.reactor, endpoint, self.url, self.proxies, make_pool=InlinePool)
        self.server.watch(self.bot.bot)
        self.addCleanup(lambda: self.successResultOf(self.server.close()))
        self.client = StubTreq(self.server.resource)
        self.browser = Browser(self)

    def wait(self, result: Any) -> Any:
        """Return the result of a Deferred that needs some turns of the reactor."""
        found: list[Any] = []
        result.addBoth(found.append)
        for _ in range(100):
            if found:
                break
            self.client.flush()
            self.bot.advance(0)
        [value] = found
        if hasattr(value, "raiseException"):
            value.raiseException()
        return value

    def link(self) -> str:
        """Return the path of a link for the bot's administrator."""
        found = re.search(r"/enter/[\w-]+", self.bot.command("!console"))
        assert found is not None
        return found[0]

    def enter(self) -> Browser:
        """Return a browser in which the bot's administrator has entered the console."""
        browser = Browser(self)
        browser.get(self.link())
        browser.press("Enter the console")
        self.assertEqual(browser.status, 200)
        return browser
