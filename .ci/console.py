"""Use the console in Chromium, as an operator does: `console.py [--axe FILE] [--screenshots DIRECTORY] [--keep]`.

A bot runs with ngircd, on which alice is an administrator, and with a conversation on a pipe in place of a terminal. In Chromium,
once with JavaScript and once without:

- alice enters by the link of `!console`; a delivery arrives while the list is shown, is opened, and replayed after its cause has
  gone; both attempts and the message that it caused are seen.
- A webhook is paused and resumed, a group of failures is replayed after a dry run, and a configuration is changed while its secret
  stays.
- 40 deliveries that have failed for six reasons are replayed, and 16 refused ones explained, in at most 25 clicks.
- Pages of other sites neither frame the console, nor send its forms, nor reach it by a name of theirs; a preview, a link that was
  used, and somebody who isn't known for certain don't enter; a session ends when its person leaves.

`--axe` is the file axe.min.js of axe-core: no page may violate its rules, on a phone and a desktop, light and dark. Exits with 1 if
an expectation fails. Needs Selenium, and Debian's packages chromium, chromium-driver and ngircd.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from selenium import webdriver
from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException, WebDriverException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "benchmarks"), str(ROOT)]

from bots import free_port, last_words  # noqa: E402
from irc_people import UnlimitedNgircd, running_server  # noqa: E402

T = TypeVar("T")
LIMIT = 30.0
"""The seconds within which anything must happen."""

SECRET, KEY = "aPHq3Bv8sKx2mZ7wT9rY", "kQ5vN1xW8zD4sF6gH2jL"
PHONE, DESKTOP = (360, 800), (1280, 900)
FAULTS = ("no stock", "no price", "no printer", "no address", "a wrong size", "a lost parcel")
"""The reasons for which orders fail."""

CONFIG = """
NETWORKS = {{
    "irc": {{
        "BACKEND": "IRC",
        "BOT_IDENTITY": {{"nickname": "thebot", "server": "127.0.0.1", "port": {irc}}},
        "BOT_ADMINS": ("alice!*@127.0.0.1", "alice!*@localhost", "carol!*@*"),
        "CHATROOM_PRESENCE": ("#ops",),
        "IRC_CHANNEL_RATE": 0,
        "IRC_PRIVATE_RATE": 0,
    }},
    "terminal": {{"BACKEND": "Text", "BOT_ADMINS": ("@operator",)}},
}}
BOT_DATA_DIR = {data!r}
BOT_LOG_FILE = {log!r}
BOT_EXTRA_PLUGIN_DIR = {plugins!r}
WEB = "tcp:{web}:interface=127.0.0.1"
CONSOLE = "tcp:{console}:interface=127.0.0.1"
WEBHOOKS = {{"Shop:paid": {{"verify": "bearer", "secret": "env:SHOP_TOKEN"}}}}
"""

PLUGIN = """
from pathlib import Path

from errklein import BotPlugin, botcmd, webhook


class Shop(BotPlugin):
    \"\"\"Takes orders.\"\"\"

    def get_configuration_template(self):
        return {"api_key": "", "limit": 3, "greeting": "hello"}

    @webhook("/order", ack="now", attempts=1)
    def order(self, payload):
        if not Path({stock!r}).exists():
            raise ValueError(f"{payload['fault']} for order {payload['id']}")
        self.send(self.build_identifier("#ops"), f"order {payload['id']} is on its way")

    @webhook("/paid", ack="now", dedupe="header:X-Id")
    def paid(self, payload):
        pass

    @botcmd(admin_only=True)
    def shop_key(self, msg, args):
        \"\"\"Say the last letters of the key.\"\"\"
        return f"{self.config['api_key'][-4:]}, at most {self.config['limit']}"
"""

AXE = (
    "const done = arguments[arguments.length - 1]; axe.run(document).then(done, error => done({error: String(error)}))"
)


class Failed(Exception):
    """An expectation that doesn't hold."""


def wait_for(what: str, look: Callable[[], T | None]) -> T:
    """Return the first result of `look` that is true."""
    deadline = time.monotonic() + LIMIT
    while not (found := look()):
        if time.monotonic() > deadline:
            raise Failed(f"{what}: not within {LIMIT:.0f} s")
        time.sleep(0.05)
    return found


def check(what: str, holds: object) -> None:
    """Raise Failed unless something holds."""
    if not holds:
        raise Failed(what)
    print(f"  {what}")


class Person:
    """Somebody on IRC, who hears the bot in private and in #ops."""

    def __init__(self, nick: str, port: int) -> None:
        self.nick = nick
        self.heard: list[str] = []
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=LIMIT)
        self._socket.settimeout(None)
        self._read = 0
        threading.Thread(target=self._listen, daemon=True).start()
        self.send(f"NICK {nick}", f"USER {nick} 0 * :{nick}")
        self.wait(" 001 ")
        self.send("JOIN #ops")
        self.wait(" 366 ")

    def send(self, *lines: str) -> None:
        """Send lines to the server."""
        self._socket.sendall("".join(f"{line}\r\n" for line in lines).encode())

    def ask(self, text: str) -> str:
        """Send the bot a message, and return its reply."""
        self._read = len(self.heard)
        self.send(f"PRIVMSG thebot :{text}")
        return self.wait(f"PRIVMSG {self.nick} :").partition(f" PRIVMSG {self.nick} :")[2]

    def wait(self, text: str) -> str:
        """Return the next line that contains a text."""
        return wait_for(
            f"{self.nick} hears {text!r}", lambda: next((one for one in self.heard[self._read :] if text in one), None)
        )

    def _listen(self) -> None:
        with self._socket.makefile("r", encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if line.startswith("PING"):
                    self.send(line.strip().replace("PING", "PONG", 1))
                self.heard.append(line.strip())


class Bot:
    """The bot, in a directory of its own."""

    def __init__(self, directory: Path, irc: int) -> None:
        self.directory, self.stock = directory, directory / "stock"
        self.web, self.console = free_port(), free_port()
        self.address = f"http://127.0.0.1:{self.console}"
        self.log = directory / "bot.log"
        folder = directory / "plugins" / "shop"
        folder.mkdir(parents=True)
        (folder / "shop.plug").write_text("[Core]\nName = Shop\nModule = shop\n[Python]\nVersion = 3\n")
        (folder / "shop.py").write_text(PLUGIN.replace("{stock!r}", repr(str(self.stock))))
        ports = {"irc": irc, "web": self.web, "console": self.console}
        folders = {"data": str(directory / "data"), "log": str(self.log), "plugins": str(directory / "plugins")}
        (directory / "config.py").write_text(CONFIG.format(**ports, **folders))
        self.process: Any = None
        self.said: list[str] = []

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run the bot, until the end of the block."""
        with (self.directory / "output").open("wb") as errors:
            command = [sys.executable, "-m", "errklein", "run", "--config", str(self.directory / "config.py")]
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd=ROOT,
                text=True,
                env={"PATH": "/usr/bin:/bin", "HOME": str(self.directory), "SHOP_TOKEN": SECRET},
            )
        threading.Thread(target=lambda: self.said.extend(self.process.stdout), daemon=True).start()
        try:
            wait_for("the bot starts", lambda: self.log.exists() and f"Listening on tcp:{self.console}:" in self.text())
            yield
        finally:
            self.process.terminate()
            self.process.wait(LIMIT)

    def text(self) -> str:
        """Return the log."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def type(self, text: str) -> str:
        """Type a line on the terminal, and return the next line of the bot."""
        before = len(self.said)
        self.process.stdin.write(f"{text}\n")
        self.process.stdin.flush()
        return wait_for(f"a reply to {text}", lambda: "".join(self.said[before:]))

    def order(self, number: int, fault: str = "no stock") -> None:
        """Post an order, with the reason for which it fails while there is no stock."""
        self._post("order", number, fault, "none")

    def pay(self, number: int) -> None:
        """Post a payment with a wrong token."""
        with suppress(urllib.error.HTTPError):
            self._post("paid", number, "", "wrong")

    def _post(self, path: str, number: int, fault: str, token: str) -> None:
        given = json.dumps({"id": number, "fault": fault}).encode()
        head = {"Content-Type": "application/json", "X-Id": f"payment-{number}", "Authorization": f"Bearer {token}"}
        request = urllib.request.Request(f"http://127.0.0.1:{self.web}/{path}", given, head)
        urllib.request.urlopen(request, timeout=LIMIT)


class Browser:
    """Chromium."""

    def __init__(self, directory: Path, address: str) -> None:
        self.address = address
        options = webdriver.ChromeOptions()
        options.binary_location = "/usr/bin/chromium"
        for option in (
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            f"--user-data-dir={directory}",
            "--lang=en",
        ):
            options.add_argument(option)
        self.driver: Any = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
        self.show(DESKTOP)
        self.clicks = 0

    def show(self, size: tuple[int, int], *, dark: bool = False) -> None:
        """Show pages on a screen of a size."""
        width, height = size
        self._tell(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=size == PHONE
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._tell("Emulation.setEmulatedMedia", features=[scheme])

    def run_scripts(self, scripts: bool) -> None:
        """Let pages run scripts, or not."""
        self._tell("Emulation.setScriptExecutionDisabled", value=not scripts)

    def get(self, path: str) -> str:
        """Load a page, and return its text."""
        self.driver.get(path if "://" in path else self.address + path)
        return self.text

    @property
    def text(self) -> str:
        """The text of the page."""
        try:
            text: str = self.driver.find_element(By.TAG_NAME, "body").text
        except (StaleElementReferenceException, NoSuchElementException):
            return ""
        return text

    def press(self, label: str, within: str = "//main") -> str:
        """Press a button."""
        self._click(f"{within}//button[starts-with(normalize-space(), '{label}')]")
        return self.text

    def follow(self, label: str, within: str = "//main") -> str:
        """Follow a link."""
        self._click(f"{within}//a[contains(normalize-space(), '{label}')]")
        return self.text

    def _click(self, path: str) -> None:
        self.clicks += 1
        old = self.driver.find_element(By.TAG_NAME, "html")

        def click() -> bool:
            try:
                found = self.driver.find_element(By.XPATH, path)
                # A fold may hide it.
                for fold in found.find_elements(By.XPATH, "ancestor::details[not(@open)]/summary"):
                    fold.click()
                    self.clicks += 1
                found.click()
            except (StaleElementReferenceException, NoSuchElementException):
                # The page has just shown a change.
                return False
            return True

        wait_for(f"{path} on {self.driver.current_url}", click)

        def is_gone() -> bool:
            try:
                return not old.is_enabled()
            except (StaleElementReferenceException, NoSuchElementException, WebDriverException):
                return True

        wait_for("the next page", is_gone)

    def fill(self, name: str, value: str) -> None:
        """Replace the value of a field."""
        field = self.driver.find_element(By.XPATH, f"//main//*[@name='{name}']")
        field.clear()
        field.send_keys(value)

    def value(self, name: str) -> str:
        """Return the value of a field."""
        return str(self.driver.find_element(By.XPATH, f"//main//*[@name='{name}']").get_attribute("value"))

    def await_text(self, text: str, *, reload: bool) -> None:
        """Wait until the page has a text; without scripts, load it again."""

        def look() -> bool:
            if reload:
                self.driver.refresh()
                time.sleep(0.2)
            return text in self.text

        wait_for(f"{text!r} on {self.driver.current_url}", look)

    def _tell(self, command: str, **values: object) -> None:
        self.driver.execute_cdp_cmd(command, values)


class OtherSite:
    """A page of another site, on this machine."""

    def __init__(self) -> None:
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = site.page.encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.page = ""
        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{server.server_address[1]}/"
        threading.Thread(target=server.serve_forever, daemon=True).start()


def status_of(address: str, host: str = "") -> int:
    """Return the status of a GET request without a browser."""
    request = urllib.request.Request(address, headers={"Host": host} if host else {})
    try:
        with urllib.request.urlopen(request, timeout=LIMIT) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


class Trial:
    """The visit of an operator."""

    def __init__(self, bot: Bot, browser: Browser, irc: int) -> None:
        self.bot, self.browser, self.irc = bot, browser, irc
        self.alice = Person("alice", irc)
        self.alice.wait("thebot")
        self.pages: list[str] = []

    def enter(self) -> None:
        """Enter by the link of !console."""
        link = re.search(r"http://\S+", self.alice.ask("!console"))
        check("alice gets a link in private", link)
        assert link is not None
        self.link = urlsplit(link[0]).path
        check("a preview doesn't use the link up", status_of(link[0]) == 200)
        self.browser.get(self.link)
        check("the link leads to the overview", "Overview" in self.browser.press("Enter the console"))
        self.alice.wait("entered the console from 127.0.0.1")
        check("administrators are told", True)

    def deliver(self, number: int, scripts: bool) -> None:
        """See a delivery arrive, open it, and replay it."""
        self.bot.stock.unlink(missing_ok=True)
        self.browser.get("/deliveries")
        self.bot.order(number)
        self.browser.await_text(f"no stock for order {number}", reload=not scripts)
        check("a delivery arrives while the list is shown", True)
        rows = self.browser.driver.find_elements(By.XPATH, f"//main//tr[contains(., 'order {number}')]//a")
        delivery = rows[0].get_attribute("href")
        self.browser.get(delivery)
        check("its reason and traceback are shown", "no stock" in self.browser.text)
        self.bot.stock.touch()
        check("it is replayed", "Replaying 1 delivery" in self.browser.press("Replay"))
        self.browser.await_text("done", reload=not scripts)
        self.alice.wait(f"order {number} is on its way")
        self.browser.await_text("#ops", reload=not scripts)
        source = self.browser.text
        check("both attempts are shown", len(re.findall("no stock", source)) >= 1 and source.count("200") >= 1)
        self.pages = ["/", "/deliveries", urlsplit(delivery).path]

    def pause(self, number: int) -> None:
        """Pause and resume a webhook."""
        bot, browser = self.bot, self.browser
        browser.get("/webhooks")
        browser.follow("Shop:order")
        self.pages += ["/webhooks", urlsplit(browser.driver.current_url).path]
        check("a webhook is paused", "Paused Shop:order" in browser.press("Pause"))
        bot.order(number)
        browser.get("/deliveries")
        check("its deliveries wait", "received" in browser.text)
        browser.get(self.pages[-1])
        check("it is resumed", "Resumed Shop:order" in browser.press("Resume"))
        self.alice.wait(f"order {number} is on its way")

    def replay_group(self, first: int) -> None:
        """Replay the failures with the same cause."""
        bot, browser = self.bot, self.browser
        bot.stock.unlink()
        for number in range(first, first + 3):
            bot.order(number)
        wait_for("three failures", lambda: f"no stock for order {first + 2}" in bot.text())
        browser.get("/failures")
        browser.await_text("no stock", reload=True)
        browser.follow("no stock")
        browser.await_text("3 deliveries would run", reload=True)
        check("failures with the same cause are one group, and a dry run shows what would run", True)
        self.pages += ["/failures", urlsplit(browser.driver.current_url).path]
        bot.stock.touch()
        check("the group is replayed", "Replaying 3 deliveries" in browser.press("Replay 3"))
        for number in range(first, first + 3):
            self.alice.wait(f"order {number} is on its way")

    def configure(self, limit: int) -> None:
        """Change the configuration of a plugin, whose secret stays."""
        browser = self.browser
        self.alice.ask(f"!plugin config Shop {{'api_key': '{KEY}', 'limit': 3, 'greeting': 'hello'}}")
        browser.get("/plugins")
        browser.follow("Shop")
        check("the secret isn't in the page", KEY not in browser.driver.page_source)
        browser.fill("given.limit", str(limit))
        check("the configuration is changed", "Shop uses the new configuration" in browser.press("Save"))
        kept = f"{KEY[-4:]}, at most {limit}"
        check("the secret is kept", kept in wait_for("a reply", lambda: self.alice.ask("!shop key")))
        self.pages += ["/plugins", urlsplit(browser.driver.current_url).path, "/networks", "/log", "/actions"]

    def leave(self) -> None:
        """Leave by the button."""
        check("leaving ends the session", "have left" in self.browser.press("Leave", "//nav"))
        check("pages are closed then", "!console" in self.browser.get("/"))

    def refusals(self) -> None:
        """Try to enter and act as others."""
        bot, browser = self.bot, self.browser
        browser.get(self.link)
        check("a link that was used doesn't let anybody in", "was used" in browser.press("Enter"))
        bob, carol = Person("bob", self.irc), Person("carol", self.irc)
        check("somebody else gets no link", "/enter/" not in bob.ask("!console"))
        check("an administrator by nick alone gets no link", "console-link" in carol.ask("!console"))
        self.enter()
        for host in ("evil.localhost", "console.evil.example"):
            check(f"the name {host} isn't answered", status_of(bot.address, f"{host}:{bot.console}") == 403)
        check("nor in the browser", "403" in browser.get(f"http://evil.localhost:{bot.console}/"))
        site = OtherSite()
        site.page = f"<iframe src='{bot.address}/' width=800 height=600></iframe>"
        browser.get(site.address)
        browser.driver.switch_to.frame(0)
        check("a frame of another site shows nothing", "Overview" not in browser.text)
        browser.driver.switch_to.default_content()
        for path in ("/do/webhooks.replay", "/leave"):
            site.page = (
                f"<form method=post action='{bot.address}{path}'><input name=words value=1>"
                "<input name=form_token value=x><button>Win a prize</button></form>"
            )
            browser.get(site.address)
            check(f"a form of another site to {path} is refused", "wasn't sent from" in browser.press("Win", ""))
        check("the session is as before", "Overview" in browser.get("/"))
        self.alice.send("QUIT :gone")
        browser.await_text("Your session has ended", reload=True)
        check("the session ends when alice leaves", True)
        self.alice = Person("alice", self.irc)
        check("and stays ended when alice comes back", "!console" in browser.get("/"))

    def terminal(self) -> None:
        """Enter by the terminal."""
        link = wait_for("a link on the terminal", lambda: re.search(r"http://\S+/enter/\S+", self.bot.type("!console")))
        self.browser.get(urlsplit(link[0]).path)
        check("the terminal lets its user in", "Overview" in self.browser.press("Enter the console"))

    def accessible(self, axe: Path) -> list[str]:
        """Return the violations of axe's rules on all pages, in four variants."""
        problems = []
        rules = axe.read_text(encoding="utf-8")
        for path in [*self.pages, "/missing", "/enter/invented"]:
            for size in (PHONE, DESKTOP):
                for dark in (False, True):
                    self.browser.show(size, dark=dark)
                    self.browser.get(path)
                    self.browser.driver.execute_script(rules)
                    found = self.browser.driver.execute_async_script(AXE)
                    variant = f"{path} ({'phone' if size == PHONE else 'desktop'}, {'dark' if dark else 'light'})"
                    if "violations" not in found:
                        problems.append(f"{variant}: {found}")
                        continue
                    for one in found["violations"]:
                        nodes = "; ".join(
                            f"{' '.join(node['target'])}: {node['failureSummary']}" for node in one["nodes"][:3]
                        )
                        problems.append(f"{variant}: {one['id']}: {nodes}")
                    wide = self.browser.driver.execute_script(
                        "return document.documentElement.scrollWidth > innerWidth"
                    )
                    if wide:
                        problems.append(f"{variant}: wider than the screen")
        self.browser.show(DESKTOP)
        return problems

    def bad_morning(self) -> None:
        """Let 40 deliveries fail for six reasons, and 16 be refused."""
        self.bot.stock.unlink(missing_ok=True)
        for number in range(40):
            self.bot.order(1000 + number, FAULTS[number % len(FAULTS)])
        for number in range(16):
            self.bot.pay(number)

    def operate(self) -> None:
        """Replay what has failed, and find out about what was refused, as an operator who knows only the overview."""
        browser = self.browser
        self.bot.stock.touch()
        browser.get("/")
        browser.clicks = 0
        browser.follow("Failures", "//nav")
        for fault in FAULTS:
            browser.follow(f"500 ValueError: {fault} for order")
            check(f"{fault}: a group is replayed", "Replaying" in browser.press("Replay"))
            browser.follow("Failures", "//nav")
        text = browser.follow("401 the source")
        known = all(f"payment-{number}" in text for number in range(16))
        check("the ids of the refused requests are shown, and why they were refused", known and "token" in text)
        for number in range(40):
            self.alice.wait(f"order {1000 + number} is on its way")
        check(f"it takes at most 25 clicks: {browser.clicks}", browser.clicks <= 25)

    def screenshots(self, directory: Path) -> None:
        """Write the pictures of the guide."""
        directory.mkdir(parents=True, exist_ok=True)
        delivery = next(one for one in self.pages if re.fullmatch(r"/deliveries/\d+", one))
        for name, path, size, dark in (
            ("overview", "/", (1080, 880), False),
            ("failures", "/failures", (1080, 640), True),
            ("delivery", delivery, PHONE, False),
        ):
            self.browser.show(size, dark=dark)
            self.browser.get(path)
            self.browser.driver.save_screenshot(str(directory / f"console-{name}.png"))
        self.browser.show(DESKTOP)


def main() -> int:
    """Run the trial."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--axe", type=Path, help="axe.min.js")
    parser.add_argument("--screenshots", type=Path, metavar="DIRECTORY", help="write screenshots there")
    parser.add_argument("--keep", action="store_true", help="keep the bot running until Enter is pressed")
    given = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="console-"))
    with ExitStack() as opened:
        opened.callback(shutil.rmtree, directory, ignore_errors=True)
        irc = opened.enter_context(running_server(UnlimitedNgircd())).port
        bot = Bot(directory, irc)
        opened.enter_context(bot.running())
        browser = Browser(directory / "chromium", bot.address)
        opened.callback(browser.driver.quit)
        trial = Trial(bot, browser, irc)
        try:
            for number, scripts in ((1, True), (101, False)):
                print("with JavaScript" if scripts else "without JavaScript")
                browser.run_scripts(scripts)
                trial.enter()
                trial.deliver(number, scripts)
                trial.pause(number + 1)
                trial.replay_group(number + 2)
                trial.configure(number + 5)
                trial.leave()
            browser.run_scripts(True)
            print("refused")
            trial.refusals()
            print("terminal")
            trial.terminal()
            trial.bad_morning()
            problems = trial.accessible(given.axe) if given.axe else []
            if given.screenshots:
                trial.screenshots(given.screenshots)
            print("a bad morning")
            trial.operate()
            if given.keep:
                input(f"{bot.address}, the bot's directory is {directory}; press Enter to end ")
        except (Failed, WebDriverException) as error:
            browser.driver.save_screenshot(str(Path(tempfile.gettempdir()) / "console-failed.png"))
            problems = [f"{error}\n{browser.driver.current_url}\n{browser.text[:2000]}\n{last_words(bot.log)}"]
    print("\n".join(problems) or "all expectations are met")
    return 1 if problems else 0


if __name__ == "__main__":
    raise SystemExit(main())
