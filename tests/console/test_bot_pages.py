"""The pages of webhooks, networks and plugins, of the log, and of what people have done."""

from __future__ import annotations

import os
import re
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from errklein import BotPlugin, cmdfilter, webhook
from errklein.commands.operations import Actor
from errklein.console._pages import ACTIONS
from errklein.networks.outbox import Outbox
from errklein.ports.outbox import OutboxExpired
from errklein.verify import github
from tests.console.kit import Browser, ConsoleCase
from tests.console.test_live import LiveCase
from tests.networks.outbox.test_outbox import Network, ThreadClock
from tests.test_operations import operations
from tests.web.test_intake import signed

REFERENCE = "env:TEST_BOT_PAGES_SECRET"
HOSTILE = '"><script>alert(1)</script>'
WITHOUT_BUTTON = {
    "install uninstall update": "no page installs code",
    "reload_config": "its file is on the bot's machine, and isn't edited by a page",
    "back_up restart shut_down kill drain": "the console only sees and repairs; these end its sessions, or write all secrets to a file",
    "forget forget_deliveries": "it lists what else there is to do, which takes a conversation",
    "join leave destroy invite set_topic": "people who are in rooms use their own client, or chat",
}
OWN_SECRET = re.compile("ek[ts][a-z2-7]{26}")


class Shop(BotPlugin):
    """Has webhooks, one with a secret, a flat configuration, and a filter that may block a command."""

    def get_configuration_template(self) -> dict[str, Any]:
        """Return the default configuration."""
        return {"API_TOKEN": "", "CITY": "Paris", "LIMIT": 5, "OPEN": True}

    blocked = ""

    @cmdfilter
    def guard(self, msg: Any, cmd: str, args: Any, dry_run: bool) -> Any:
        return (None, None, None) if cmd == self.blocked else (msg, cmd, args)

    @webhook("/order", ack="now", attempts=1)
    def order(self, payload: Any) -> None:
        pass

    @webhook("/code", ack="now", verify=github(secret=REFERENCE))
    def code(self, payload: Any) -> None:
        pass


class Nested(BotPlugin):
    """Has a configuration that isn't flat."""

    def get_configuration_template(self) -> dict[str, Any]:
        """Return the default configuration."""
        return {"HOSTS": [{"NAME": "", "PASSWORD": ""}]}


class BotPagesCase(ConsoleCase):
    """A browser that has entered the console."""

    plugins = (Shop,)
    config = {"PUBLIC_URL": "https://bot.example.net", "CHATROOM_PRESENCE": ("#ops", "#other")}

    def setUp(self) -> None:
        """Set the secret and enter."""
        os.environ["TEST_BOT_PAGES_SECRET"] = "correct horse"
        self.addCleanup(os.environ.pop, "TEST_BOT_PAGES_SECRET")
        super().setUp()
        self.bot.command("!plugin config Webserver {'HOST': '127.0.0.1', 'PORT': 3141}")
        # Times are shown, but not 0.
        self.bot.advance(60)
        self.page = self.enter()

    def get(self, path: str) -> str:
        """Load a page, and return its text without tags."""
        return _text(self.page.get(path))

    def private(self) -> str:
        """Return what the administrator has got in private."""
        return "\n".join(self.bot.sent_to("@admin"))


def _text(html: str) -> str:
    return " ".join(unescape(re.sub("<[^>]*>", " ", html)).split())


class WebhookPagesTests(BotPagesCase):
    """Webhooks are found, paused and tested; those of rooms are made, changed and rotated."""

    def make(self, **fields: str) -> str:
        """Make a webhook, and return the private message with its address."""
        self.page.get("/webhooks")
        self.page.press(
            "Make", **{"source": "json", "room": "test:#ops", "name": "", "expires": "", "signed": "", **fields}
        )
        return self.private()

    def test_list(self) -> None:
        """The list has the address, the verification, and what became of the last request."""
        self.successResultOf(self.bot.post("/order", json={}))
        self.bot.advance(1)
        text = self.get("/webhooks")
        for expected in ("Shop:order https://bot.example.net/order", "github", "active", "done", "never"):
            self.assertIn(expected, text)
        self.assertNotIn("/order", self.get("/webhooks?text=code"))

    def test_pause_and_resume(self) -> None:
        """A paused webhook accepts requests, which run after the webhook is resumed. Each result is shown."""
        self.page.get("/webhooks/Shop:order")
        self.assertIn("Paused Shop:order", self.page.press("Pause"))
        self.successResultOf(self.bot.post("/order", json={}))
        self.assertIn("1 delivery has not ended", self.get("/webhooks/Shop%3Aorder"))
        self.assertIn("paused", self.get("/webhooks"))
        self.page.get("/webhooks/Shop:order")
        self.page.press("Resume")
        shown = self.page.press("Pause")
        self.assertIn("Paused Shop:order", shown)
        self.assertNotIn("Resumed", shown)

    def test_secrets(self) -> None:
        """The page shows when a secret has last verified a request, and no secret."""
        self.assertIn(f"{REFERENCE} unknown, since it isn't a file none", self.get("/webhooks/Shop:code"))
        self.successResultOf(self.bot.post("/code", body=b"{}", headers=dict(signed(b"{}"))))
        self.assertRegex(self.get("/webhooks/Shop:code"), rf"{REFERENCE} unknown, since it isn't a file \d{{4}}-")
        self.assertNotIn("correct horse", self.page.text)

    def test_unknown(self) -> None:
        """An unknown webhook is an error with a hint."""
        self.assertIn("Shop:order", self.page.get("/webhooks/Shop:ordre"))
        self.assertEqual(self.page.status, 400)
        self.page.get("/webhooks/Shop")
        self.assertEqual(self.page.status, 404)

    def test_make_and_rotate(self) -> None:
        """The address goes to the visitor in private; no page has it, neither after it was made nor after a rotation."""
        token, *others = OWN_SECRET.findall(self.make())
        self.assertEqual({*others}, {token})
        self.assertIn("in your private messages", self.page.text)
        self.assertEqual(
            self.successResultOf(self.bot.post(f"/hooks/json/{token}", json={"text": "hello"})).status, 202
        )
        text = self.get("/webhooks/json")
        self.assertIn("the token in the address 1970", text)
        self.page.press("Rotate")
        self.assertIn("in your private messages", self.page.text)
        rotated = OWN_SECRET.findall(self.private())
        self.assertEqual(len(set(rotated)), 2)
        pages = [self.page.get(path) for path in ("/webhooks", "/webhooks/json", "/actions", "/deliveries", "/log")]
        self.assertNotRegex("\n".join(pages), OWN_SECRET)
        self.assertIn("the token before", pages[1])

    def test_change_move_remove(self) -> None:
        """Options and the room are changed; a removed webhook leaves a result in the list."""
        self.make(name="tool")
        self.page.get("/webhooks/tool")
        self.page.press("Change", option="messages", value="5/min")
        self.page.press("Move", room="test:#other")
        text = self.get("/webhooks/tool")
        self.assertIn("Messages 5/min", text)
        self.assertIn("#other", text)
        self.assertIn("Removed tool.", self.page.press("Remove tool and its secret"))
        self.assertIn("<h1>Webhooks</h1>", self.page.text)

    def test_secret_of_the_source(self) -> None:
        """A secret that the source makes is stored, and not shown or noted."""
        self.make(source="pagerduty")
        self.page.get("/webhooks/pagerduty")
        self.page.press("Set the secret", value="from the source")
        self.assertIn("Changed secret of pagerduty.", self.page.text)
        pages = [self.page.get(path) for path in ("/webhooks/pagerduty", "/actions", "/log")]
        self.assertNotIn("from the source", "\n".join(pages))
        self.assertRegex(_text(pages[0]), r"secret:pagerduty-\w+ 20\d\d-")
        self.assertIn("webhook set", _text(pages[1]))

    def test_visitor_of_the_shell(self) -> None:
        """Whoever came from the shell learns the address by a command there."""
        shell = Browser(self)
        shell.get(self.server.link("root").removeprefix("http://127.0.0.1:9142"))
        shell.press("Enter the console")
        shell.get("/webhooks")
        shell.press("Make", source="json", room="test:#ops")
        self.assertIn("errklein webhook rotate json", shell.text)
        # Two rotations would end the token that the source uses.
        shell.get("/webhooks/json")
        self.assertNotIn("<button>Rotate</button>", shell.text)
        self.assertIn("errklein webhook rotate json", shell.text)
        self.assertNotRegex(shell.text, OWN_SECRET)

    def test_test(self) -> None:
        """A test shows the response."""
        self.page.get("/webhooks/Shop:order")
        self.page.press("Send a test", content='{"id": 7}')
        self.assertIn("/order: 200 OK", self.page.text)

    def test_many(self) -> None:
        """A page has fifty webhooks, and a link to the next ones."""
        for number in range(55):
            made = self.bot.bot.core_host.room_webhooks.create(Actor("admin"), "json", "test:#ops", f"tool-{number:02}")
            self.wait(Deferred.fromCoroutine(made))
        self.assertEqual(self.page.get("/webhooks?text=tool").count("/hooks/tool-"), 50)
        [following] = re.findall(r'href="(/webhooks\?[^"]*after=[^"]*)"', self.page.text)
        self.assertEqual(self.page.get(unescape(following)).count("/hooks/tool-"), 5)
        self.assertNotIn("Next webhooks", self.page.text)

    def test_hostile_texts(self) -> None:
        """Texts of others are shown as they are."""
        self.make(name="tool")
        for field in ("text", "messages"):
            self.page.get("/webhooks/tool")
            self.page.press("Change", option=field, value=HOSTILE)
        self.page.get("/webhooks/tool")
        self.page.press("Move", room=HOSTILE)
        for path in (
            "/webhooks",
            "/webhooks/tool",
            "/actions",
            f"/webhooks?text={quote(HOSTILE)}",
            f"/log?text={quote(HOSTILE)}",
        ):
            self.assertNotIn("<script>alert", self.page.get(path), path)
        self.assertIn(HOSTILE, self.get("/webhooks/tool"))
        self.assertIn(HOSTILE, self.get("/actions"))

    def test_who_may(self) -> None:
        """A filter that blocks a command blocks the action of the page, too."""
        self.page.get("/webhooks/Shop:order")
        Shop.blocked = "webhook_pause"
        self.addCleanup(setattr, Shop, "blocked", "")
        self.page.press("Pause")
        self.assertEqual(self.page.status, 403)
        Shop.blocked = "webstatus"
        self.page.get("/webhooks")
        self.assertEqual(self.page.status, 403)


class NetworkPagesTests(BotPagesCase):
    """Networks, and what waits for whom."""

    def test_connected(self) -> None:
        """A network shows since when it is connected, and that nothing waits."""
        self.assertRegex(self.get("/networks"), "test connected")
        self.assertIn("Nothing waits on test", self.get("/networks"))

    def test_drop(self) -> None:
        """What waits is listed by its recipient with the time of the oldest message, and can be dropped."""
        outbox = Outbox[str](ThreadClock(), "text", Network(), now=lambda: 1000.0)
        self.patch(self.bot.backend, "outbox", outbox)
        lost: Any = [outbox.perform(f"#{HOSTILE}", "too much") for _ in range(2)]
        self.assertIn(f"#{HOSTILE} 2 1970-01-01 00:16:40 +00:00", self.get("/networks"))
        self.assertNotIn("<script>alert", self.page.text)
        self.assertIn("Dropped 2 of the messages to", self.page.press("Drop"))
        self.assertIn("Nothing waits on test", _text(self.page.text))
        for one in lost:
            self.failureResultOf(one, OutboxExpired)


class PluginPagesTests(BotPagesCase):
    """Plugins are activated and reloaded, and configured without their secrets being shown."""

    def test_list(self) -> None:
        """Each plugin has its state."""
        self.assertIn("Shop active", self.get("/plugins"))

    def test_deactivate_and_activate(self) -> None:
        """The buttons are those of the state."""
        self.page.get("/plugins/Shop")
        self.assertIn("Deactivated Shop", self.page.press("Deactivate"))
        self.assertIn("Activated Shop.", self.page.press("Activate"))
        self.page.press("Blacklist")
        self.assertIn("State blacklisted", _text(self.page.text))
        self.page.press("Remove from the blacklist")
        self.assertIn("State unconfigured", _text(self.page.text))

    def test_configuration_keeps_secrets(self) -> None:
        """A form has a field for each value. An empty field of a secret keeps the secret, which no page shows."""
        self.bot.command("!plugin config Shop {'API_TOKEN': 'tok-9876543', 'CITY': 'Paris', 'LIMIT': 5, 'OPEN': True}")
        self.page.get("/plugins/Shop")
        self.assertNotIn("tok-9876543", self.page.text)
        given = {"given.API_TOKEN": "", "given.CITY": "Rome", "given.LIMIT": "6", "given.OPEN": "False"}
        self.assertIn("Shop uses the new configuration.", self.page.press("Save", **given))
        expected = {"API_TOKEN": "tok-9876543", "CITY": "Rome", "LIMIT": 6, "OPEN": False}
        self.assertEqual(self.bot.plugin("Shop").config, expected)
        self.page.get("/plugins/Shop")
        self.assertIn('value="Rome"', self.page.text)

    def test_configuration_that_is_wrong(self) -> None:
        """A value of another type is refused with the reason."""
        self.page.get("/plugins/Shop")
        given = {"given.API_TOKEN": "", "given.CITY": "Rome", "given.LIMIT": "many", "given.OPEN": "True"}
        self.page.press("Save", **given)
        self.assertEqual(self.page.status, 400)
        self.assertIn("LIMIT", self.page.text)

    def test_unknown(self) -> None:
        """An unknown plugin is an error."""
        self.page.get("/plugins/Shoop")
        self.assertEqual(self.page.status, 400)


class NestedTests(BotPagesCase):
    """A configuration that isn't flat."""

    plugins = (Nested,)

    def test_literal(self) -> None:
        """It is a checked text, in which a mask stands for each secret, and keeps it."""
        self.bot.command("!plugin config Nested {'HOSTS': [{'NAME': 'a', 'PASSWORD': 'pass-9876543'}]}")
        self.page.get("/plugins/Nested")
        self.assertNotIn("pass-9876543", self.page.text)
        self.page.press("Save", given="{'HOSTS': [{'NAME': 'b', 'PASSWORD': 'new-9876543'}]")
        self.assertEqual(self.page.status, 400)
        self.page.get("/plugins/Nested")
        [shown] = re.findall(r"<textarea[^>]*>\n(.*?)</textarea>", self.page.text, re.DOTALL)
        self.page.press("Save", given=unescape(shown))
        self.assertEqual(self.page.status, 200)
        self.assertEqual(self.bot.plugin("Nested").config["HOSTS"][0]["PASSWORD"], "pass-9876543")


class LogTests(BotPagesCase):
    """The last lines of the log."""

    def setUp(self) -> None:
        """Write the log."""
        super().setUp()
        self.path = Path(self.mktemp())
        self.page.get("/log")

    def test_no_file(self) -> None:
        """Without a file, the page says where the log is."""
        self.assertIn("journalctl", self.page.text)

    def test_unreadable(self) -> None:
        """A file that can't be read is no failure of the page."""
        self.bot.bot.bot_config.BOT_LOG_FILE = str(self.path)
        self.assertIn("The log can't be read: No such file or directory.", self.get("/log"))

    def test_lines(self) -> None:
        """The last lines are shown without secrets, all or those with a text."""
        self.bot.command("!plugin config Shop {'API_TOKEN': 'tok-9876543', 'CITY': 'Paris', 'LIMIT': 5, 'OPEN': True}")
        self.path.write_text("".join(f"line {number} tok-9876543\n" for number in range(200)) + "the <b>end</b>\n")
        self.bot.bot.bot_config.BOT_LOG_FILE = str(self.path)
        text = self.get("/log")
        self.assertNotIn("tok-9876543", text)
        self.assertNotIn("line 99 ", text)
        self.assertIn("line 199 •••", text)
        self.assertIn("the <b>end</b>", unescape(self.page.text))
        self.assertNotIn("<b>", self.page.text)
        self.assertNotIn("line", self.get("/log?text=end").partition("Lines with")[2].partition("The last")[0])


class ActionTests(BotPagesCase):
    """Who did what."""

    def test_actions(self) -> None:
        """What was done in chat and on the console is listed with who did it."""
        self.bot.command("!webhook pause Shop:order")
        self.page.get("/webhooks/Shop:order")
        self.page.press("Resume")
        text = self.get("/actions")
        self.assertIn("chat webhook pause Shop:order", text)
        self.assertIn("console webhook resume Shop:order", text)


class ButtonTests(SynchronousTestCase):
    """What can be done by buttons."""

    def test_all(self) -> None:
        """Each operation that changes something has a button, or there is a reason why it has none."""
        pressed = {name.rpartition(".")[2] for name in ACTIONS}
        changing = {name for _, name, guard in operations() if guard.changes}
        self.assertEqual(changing - pressed, {name for names in WITHOUT_BUTTON for name in names.split()})


class FollowingTests(LiveCase):
    """The pages of the bot are followed."""

    def test_events(self) -> None:
        """Events have what changes on a page, and no form."""
        self.bot.command("!plugin config Webserver {'HOST': '127.0.0.1', 'PORT': 3141}")
        for path in ("/webhooks", "/webhooks/Shop:order", "/networks", "/plugins", "/log", "/actions"):
            stream = self.follow(path)
            self.assertEqual(stream.status, 200, path)
            [event] = stream.take()
            self.assertRegex(event, "<(dl|table|p)", path)
            self.assertNotIn("form_token", event, path)
