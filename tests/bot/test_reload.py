"""`!config reload`: settings change while the bot runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest.mock import Mock, patch

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from errklein import BotPlugin, botcmd, webhook
from errklein.config import load_config
from errklein.plugins.manager import PluginManager
from errklein.storage import StorageError
from errklein.testing import TestBot
from errklein.text.masking import masker
from errklein.verify import bearer


class Shop(BotPlugin):
    """Has commands and webhooks."""

    @botcmd(admin_only=True)
    async def close(self, msg: Any, args: str) -> str:
        """Close the shop."""
        return "closed"

    @botcmd
    async def opening(self, msg: Any, args: str) -> str:
        """Show a setting of the plugin."""
        return str(getattr(self.bot_config, "OPENING", "never"))

    @webhook
    async def order(self, payload: Any) -> str:
        return "ordered"

    @webhook(verify=bearer(secret="env:SHOP"))
    async def paid(self, payload: Any) -> str:
        return "paid"


class Alerts(BotPlugin):
    """Has a webhook of a source."""

    @webhook("/alerts", source="alertmanager")
    async def alerted(self, event: Any) -> str:
        return "announced"


class ReloadCase(SynchronousTestCase):
    """A bot whose configuration is read again from a file."""

    plugins: Sequence[type[BotPlugin]] = (Shop,)

    networks: dict[str, dict[str, Any]] | None = None

    def start(self, **settings: Any) -> None:
        """Start the bot with these settings."""
        self.path = Path(self.mktemp()).absolute() / "config.py"
        self.path.parent.mkdir()
        self.bot = TestBot(self.plugins, config=settings, networks=self.networks)
        self.bot.secrets = {"SHOP": "s3cret-of-the-shop", "OTHER": "an0ther-secret"}
        self.data = self.bot.config.BOT_DATA_DIR
        self.bot.start()
        self.addCleanup(self.bot.stop)
        self.bot.bot.read_config = lambda: load_config(self.path)
        self.settings = settings
        self.write()

    def write(self, **settings: Any) -> None:
        """Write the settings of the start, with these instead."""
        base: dict[str, Any] = {"BOT_DATA_DIR": self.data, "STORAGE": "Memory"}
        if self.networks is None:
            base |= {"BACKEND": "Test", "BOT_ADMINS": ("@admin",), "CHATROOM_PRESENCE": ("#testroom",)}
        else:
            base["NETWORKS"] = {name: {"BACKEND": "Test", **its} for name, its in self.networks.items()}
        values = base | self.settings | settings
        self.path.write_text("".join(f"{name} = {value!r}\n" for name, value in values.items()))

    def reload(self, options: str = "", **settings: Any) -> str:
        """Write the settings and reload; return the reply."""
        self.write(**settings)
        return self.bot.command(f"!config reload {options}".strip())

    def status(self, path: str, **headers: str) -> int:
        """Return the status of a POST request."""
        return self.successResultOf(self.bot.post(path, {}, headers=headers)).status


class AppliedTests(ReloadCase):
    """What a reload applies at once."""

    def test_administrators(self) -> None:
        """A new administrator has the rights at once; the reply and the notice have the difference, without errors."""
        self.start()
        self.assertIn("requires bot-admin privileges", self.bot.command("!close", frm="@bob"))
        self.assertEqual(self.reload(BOT_ADMINS=("@admin", "@bob")), "BOT_ADMINS: added ('@bob',)")
        self.assertEqual(self.bot.command("!close", frm="@bob"), "closed")
        [notice] = [message.text for message in self.bot.messages if message.is_notice]
        self.assertIn("@admin has reloaded the configuration: BOT_ADMINS: added ('@bob',)", notice)
        self.assertTrue(any("Notifying administrators: @admin has reloaded" in line for line in self.bot.log))

    def test_administrator_who_removes_himself(self) -> None:
        """He gets the reply and the notice, and no rights from then on."""
        self.start(BOT_ADMINS=("@admin", "@bob"))
        self.assertEqual(self.reload(BOT_ADMINS=("@bob",)), "BOT_ADMINS: removed ('@admin',)")
        self.assertIn("removed ('@admin',)", "".join(self.bot.sent_to("@admin")[:1]))
        self.assertIn("requires bot-admin privileges", self.bot.command("!config reload"))

    def test_access_rules(self) -> None:
        """Rules apply at once, also in another order."""
        rules: dict[str, Any] = {"opening": {"denyusers": ("@bob",)}, "*": {}}
        self.start(ACCESS_CONTROLS=rules)
        self.assertIn("not allowed", self.bot.command("!opening", frm="@bob"))
        self.assertIn("ACCESS_CONTROLS: ", self.reload(ACCESS_CONTROLS=dict(reversed(rules.items()))))
        self.assertEqual(self.bot.command("!opening", frm="@bob"), "never")
        self.assertIn("removed {'opening'", self.reload(ACCESS_CONTROLS={"*": {}}))

    def test_setting_of_a_plugin(self) -> None:
        """A plugin reads the new value of its own setting; one that the file has no more is gone."""
        self.start()
        self.assertIn("OPENING: not set → 9", self.reload(OPENING=9))
        self.assertEqual(self.bot.command("!opening"), "9")
        self.assertIn("OPENING: 9 → 10", self.reload(OPENING=10))
        self.assertIn("OPENING: removed", self.reload())
        self.assertEqual(self.bot.command("!opening"), "never")

    def test_limits(self) -> None:
        """Sizes and rates of requests and commands are limited anew."""
        self.start()
        self.assertEqual(self.status("/order"), 200)
        self.reload(WEBHOOK_MAX_BODY=1, COMMAND_RATE="1/h")
        self.assertEqual(self.status("/order"), 413)
        self.assertEqual(self.bot.command("!opening", frm="@bob"), "never")
        self.assertNotEqual(self.bot.command("!opening", frm="@bob"), "never")
        self.reload(WEBHOOK_CLIENT_RATE="1/h")
        self.assertEqual([self.status("/paid") for _ in range(2)], [401, 429])

    def test_nothing_new(self) -> None:
        """Without a change there is no notice."""
        self.start()
        self.assertEqual(self.reload(), "Nothing has changed.")
        self.assertEqual([message for message in self.bot.messages if message.is_notice], [])

    def test_in_a_room(self) -> None:
        """In a room, the reply has the names of settings, without their values."""
        self.start(ACCESS_CONTROLS={"config reload": {"allowmuc": True}})
        self.write(BOT_ADMINS=("@admin", "@bob"))
        sent = self.bot.say("!config reload", room="#testroom")
        self.assertEqual([message for message in sent if not message.is_notice], ["BOT_ADMINS"])


class RefusedTests(ReloadCase):
    """Reloads that change nothing."""

    def assert_unchanged(self) -> None:
        """Check that the configuration of the start is in use."""
        self.assertEqual(self.bot.command("!close"), "closed")
        self.assertIn("requires bot-admin privileges", self.bot.command("!close", frm="@bob"))
        self.assertEqual(self.reload(), "Nothing has changed.")

    def test_invalid(self) -> None:
        """The reply has the file and the line of an error, and nothing is changed."""
        self.start()
        self.write(BOT_ADMINS=("@admin", "@bob"))
        valid = self.path.read_text()
        for line, error in (
            ("BOT_PREFIX = ", "config.py isn't valid Python at line 6"),
            ("GRACE_PERIOD = 'x'", "GRACE_PERIOD: expected a number of seconds"),
            ("raise ValueError('what')", "config.py raised ValueError at line 6"),
        ):
            self.path.write_text(f"{valid}{line}\n")
            reply = self.bot.command("!config reload --force")
            self.assertIn("The configuration stays as it was: ", reply)
            self.assertIn(error, reply)
            self.assertRegex(reply, r"config\.py.*line 6")
        self.assert_unchanged()

    def test_webhook_that_contradicts_its_plugin(self) -> None:
        """Options that a plugin's webhook can't have are an error with the line, and nothing else is applied."""
        self.start()
        reply = self.reload(BOT_ADMINS=("@admin", "@bob"), WEBHOOKS={"Shop:order": {"dedupe": "id"}})
        self.assertIn("WEBHOOKS['Shop:order']: expected a verification", reply)
        self.assertIn("(config.py line 6)", reply)
        self.assert_unchanged()

    def test_webhook_without_its_new_secret(self) -> None:
        """A verification whose secret is missing isn't applied, since all requests would get 503."""
        self.start()
        reply = self.reload(WEBHOOKS={"Shop:order": {"verify": "bearer", "secret": "env:NO_SUCH"}})
        self.assertIn("WEBHOOKS['Shop:order']: env:NO_SUCH: the secret is missing or empty", reply)
        self.assertEqual(self.status("/order"), 200)
        self.assert_unchanged()

    def test_last_administrator(self) -> None:
        """Without --force, a network keeps at least one administrator of its own."""
        self.start(BOT_ADMINS=("@alice",))
        for admins in (("",), ()):
            self.write(BOT_ADMINS=admins)
            reply = self.bot.command("!config reload", frm="@alice")
            self.assertIn("BOT_ADMINS: the last administrator would be removed", reply)
        self.assertIn("--force", reply)
        self.assertEqual(self.bot.command("!close", frm="@alice"), "closed")
        self.assertIn("BOT_ADMINS", self.bot.command("!config reload --force", frm="@alice"))
        self.assertIn("requires bot-admin privileges", self.bot.command("!close", frm="@alice"))

    def test_unknown_option(self) -> None:
        """An option other than --force is an error."""
        self.start()
        self.assertIn("unknown option '--farce'", self.bot.command("!config reload --farce"))

    def test_for_administrators(self) -> None:
        """Others can't reload the configuration."""
        self.start()
        self.assertIn("requires bot-admin privileges", self.bot.command("!config reload", frm="@bob"))

    def test_two_at_a_time(self) -> None:
        """Of two reloads, the one that has begun last applies, whenever the file of the other is read."""
        self.start()
        slow: Deferred[Any] = Deferred()
        with patch.object(self.bot.bot.plugin_pool, "run", lambda *args, **options: slow):
            self.bot.say("!config reload")
        before = load_config(self.path)
        self.assertIn("added ('@bob',)", self.reload(BOT_ADMINS=("@admin", "@bob")))
        slow.callback(before)
        self.assertIn("a later reload has begun", self.bot.sent_to("@admin")[-1])
        self.assertEqual(self.bot.command("!close", frm="@bob"), "closed")

    def test_bot_of_a_program(self) -> None:
        """A bot that has no file says so."""
        self.start()
        self.bot.bot.read_config = None
        self.assertIn("the program that runs this bot", self.bot.command("!config reload"))


class RestartTests(ReloadCase):
    """Settings that need a restart."""

    def test_named(self) -> None:
        """They are named, at each reload, and stay as they were; others are applied."""
        self.start()
        expected = "BOT_PREFIX (needs a restart): '!' → '?'"
        self.assertEqual(
            self.reload(BOT_PREFIX="?", BOT_ADMINS=("@admin", "@bob")),
            f"BOT_ADMINS: added ('@bob',)\n{expected}",
        )
        self.assertEqual(self.bot.config.BOT_PREFIX, "!")
        self.assertEqual(self.bot.command("!close", frm="@bob"), "closed")
        self.assertEqual(self.bot.command("!config reload"), expected)
        [*_, notice] = [message.text for message in self.bot.messages if message.is_notice]
        self.assertIn(expected, notice)

    def test_changed_by_a_backend(self) -> None:
        """What a backend has set itself isn't taken for a change of the file."""
        self.start()
        self.bot.config.MESSAGE_SIZE_LIMIT = 300
        self.assertEqual(self.reload(), "Nothing has changed.")
        self.assertEqual(self.bot.config.MESSAGE_SIZE_LIMIT, 300)

    def test_passwords(self) -> None:
        """Passwords are masked in the reply, and from then on in all texts, both the old and the new ones."""
        self.start(BOT_IDENTITY={"username": "err", "password": "first-passw0rd"}, API_TOKEN="first-t0ken")
        for word in ("second", "third"):
            identity = {"username": "err", "password": f"{word}-passw0rd"}
            reply = self.reload(BOT_IDENTITY=identity, API_TOKEN=f"{word}-t0ken")
            self.assertIn("BOT_IDENTITY (needs a restart): changed", reply)
            self.assertNotIn("0", reply)
        for secret in (f"{word}-{kind}" for word in ("first", "second", "third") for kind in ("passw0rd", "t0ken")):
            self.assertNotIn(secret, masker(f"The word {secret} is secret"))

    def test_several_networks_at_last(self) -> None:
        """If the file has got NETWORKS, nothing is applied."""
        self.start()
        networks = {"a": {"BACKEND": "Test", "BOT_ADMINS": ("@bob",)}}
        reply = self.reload(NETWORKS=networks)
        self.assertIn("NETWORKS (needs a restart): ", reply)
        self.assertEqual(self.bot.command("!close"), "closed")


class NetworkTests(ReloadCase):
    """Settings of networks."""

    networks = {"a": {"BOT_ADMINS": ("@admin",)}, "b": {"BOT_ADMINS": ("@admin",), "COMMAND_RATE": "1/h"}}

    def answer(self, text: str, frm: str, network: str) -> str:
        """Return the replies on a network."""
        return "\n".join(self.bot.say(text, frm=frm, network=network))

    def test_administrators(self) -> None:
        """A network's administrators change there only; the common ones in networks without own ones."""
        self.start()
        entries = {name: {"BACKEND": "Test", **its} for name, its in self.networks.items()}
        entries["b"] = {"BACKEND": "Test", "BOT_ADMINS": ("@admin", "@bob")}
        reply = self.reload(NETWORKS=entries)
        self.assertEqual(
            reply,
            "NETWORKS['b']: BOT_ADMINS: added ('@bob',)\nNETWORKS['b']: COMMAND_RATE: '1/h' → '200/h'",
        )
        self.assertEqual(self.answer("!close", "@bob", "b"), "closed")
        self.assertIn("requires bot-admin privileges", self.answer("!close", "@bob", "a"))
        del entries["a"]["BOT_ADMINS"]
        self.reload(NETWORKS=entries, BOT_ADMINS=("@admin", "a:@carol"))
        self.assertEqual(self.answer("!close", "@carol", "a"), "closed")
        self.assertIn("requires bot-admin privileges", self.answer("!close", "@carol", "b"))

    def test_another_network(self) -> None:
        """A network that is added or removed needs a restart."""
        self.start()
        entries = {name: {"BACKEND": "Test", **self.networks["a"]} for name in ("a", "c")}
        self.assertEqual(self.reload(NETWORKS=entries), "NETWORKS (needs a restart): removed ('b',), added ('c',)")
        self.assertEqual(self.answer("!close", "@admin", "b"), "closed")


class WebhookTests(ReloadCase):
    """WEBHOOKS and WEBHOOK_METHODS."""

    verified = {"Shop:order": {"verify": "bearer", "secret": "env:SHOP"}}

    def test_verification(self) -> None:
        """A verification applies from the next request on; to remove it needs --force."""
        self.start()
        self.assertEqual(self.status("/order"), 200)
        self.assertIn("WEBHOOKS: ", self.reload(WEBHOOKS=self.verified))
        self.assertEqual(self.status("/order"), 401)
        self.assertEqual(self.status("/order", Authorization="Bearer s3cret-of-the-shop"), 200)
        reply = self.reload()
        self.assertIn("WEBHOOKS: Shop:order would no longer be verified", reply)
        self.assertEqual(self.status("/order"), 401)
        self.assertIn("WEBHOOKS: ", self.bot.command("!config reload --force"))
        self.assertEqual(self.status("/order"), 200)

    def test_switched_off(self) -> None:
        """To switch off the verification that a plugin declares needs --force, too."""
        self.start()
        off = {"Shop:paid": {"verify": None}}
        self.assertIn("WEBHOOKS: Shop:paid would no longer be verified", self.reload(WEBHOOKS=off))
        self.assertEqual(self.status("/paid"), 401)
        self.reload("--force", WEBHOOKS=off)
        self.assertEqual(self.status("/paid"), 200)
        self.assertEqual(self.reload(), "WEBHOOKS: removed {'Shop:paid': {'verify': None}}")
        self.assertEqual(self.status("/paid"), 401)

    def test_other_secret(self) -> None:
        """A webhook is verified by the new secret only."""
        self.start(WEBHOOKS=self.verified)
        self.reload(WEBHOOKS={"Shop:order": {"verify": "bearer", "secret": "env:OTHER"}})
        self.assertEqual(self.status("/order", Authorization="Bearer s3cret-of-the-shop"), 401)
        self.assertEqual(self.status("/order", Authorization="Bearer an0ther-secret"), 200)

    def test_used_up_rate(self) -> None:
        """The rate of a webhook whose options don't change stays used up."""
        options = {"Shop:order": {"rate": "1/h"}}
        self.start(WEBHOOKS=options)
        self.assertEqual([self.status("/order") for _ in range(2)], [200, 429])
        self.reload(WEBHOOKS={**options, "Shop:paid": {"rate": "7/h"}})
        self.assertEqual(self.status("/order"), 429)
        self.reload(WEBHOOKS={"Shop:order": {"rate": "2/h"}})
        self.assertEqual([self.status("/order") for _ in range(3)], [200, 200, 429])

    def test_methods(self) -> None:
        """The methods of webhooks without own ones change."""
        self.start()
        self.reload(WEBHOOK_METHODS=("GET",))
        self.assertEqual(self.status("/order"), 405)
        self.assertEqual(self.successResultOf(self.bot.get("/order")).status, 200)

    def test_inactive_plugin(self) -> None:
        """A webhook that a reload verifies is known while its plugin is inactive, until another reload removes it."""
        self.start()
        self.reload(WEBHOOKS={"Shop:order": {**self.verified["Shop:order"], "ack": "now"}})
        self.bot.command("!plugin deactivate Shop")
        self.reload(BOT_ADMINS=("@admin", "@bob"))
        self.assertEqual(self.status("/order", Authorization="Bearer s3cret-of-the-shop"), 202)
        self.assertIn("Shop:order would no longer be verified", self.reload())
        self.reload("--force")
        self.assertEqual(self.status("/order"), 404)

    def test_failing_disk(self) -> None:
        """A reload applies although the routes of inactive plugins can't be stored, which the log has."""
        self.start()
        broken = {name: Mock(side_effect=StorageError("the disk is full")) for name in ("__getitem__", "__setitem__")}
        with patch.multiple(PluginManager, **broken):
            self.assertIn("WEBHOOKS: added", self.reload(WEBHOOKS=self.verified, BOT_LOG_LEVEL="ERROR"))
        self.assertTrue(any("can't be stored: the disk is full" in line for line in self.bot.log))
        self.assertEqual(self.status("/order"), 401)

    def test_switched_off_for_an_inactive_plugin(self) -> None:
        """To switch off a verification needs --force also while it isn't known whether the plugin declares one."""
        self.start()
        self.bot.command("!plugin deactivate Shop")
        self.assertIn("WEBHOOKS: ", self.reload(WEBHOOKS={"Shop:paid": {"rate": "9/s"}}))
        off = {"Shop:paid": {"verify": None}}
        self.assertIn("WEBHOOKS: Shop:paid would no longer be verified", self.reload(WEBHOOKS=off))
        self.assertIn("WEBHOOKS: ", self.reload("--force", WEBHOOKS=off))
        self.assertIn("WEBHOOKS: ", self.reload())

    def test_unknown_webhook(self) -> None:
        """Administrators are notified of a name in WEBHOOKS that is no webhook."""
        self.start()
        self.reload(WEBHOOKS={"Shop:oder": {"rate": "1/s"}})
        self.assertIn("did you mean", "".join(self.bot.sent_to("@admin")))


class SourceTests(ReloadCase):
    """The webhook of a plugin that names its source."""

    plugins = (Alerts,)

    def test_secret(self) -> None:
        """A secret applies at once, if there is one; to do without it needs --force."""
        self.start()
        self.assertEqual(self.status("/alerts"), 503)
        nowhere = {"Alerts:alerted": {"secret": "env:NOWHERE"}}
        self.assertIn("WEBHOOKS['Alerts:alerted']: env:NOWHERE: ", self.reload(WEBHOOKS=nowhere))
        self.assertIn("WEBHOOKS: added", self.reload(WEBHOOKS={"Alerts:alerted": {"secret": "env:SHOP"}}))
        accepted = {"Authorization": "Bearer s3cret-of-the-shop"}
        self.assertEqual([self.status("/alerts"), self.status("/alerts", **accepted)], [401, 200])
        off = {"Alerts:alerted": {"verify": None}}
        self.assertIn("WEBHOOKS: Alerts:alerted would no longer be verified", self.reload(WEBHOOKS=off))

    def test_nothing_new(self) -> None:
        """A webhook that doesn't change keeps the rate that it has used up, and no notice is repeated."""
        limited = {"Alerts:alerted": {"secret": "env:SHOP", "rate": "1/h"}}
        self.start(WEBHOOKS=limited)
        accepted = {"Authorization": "Bearer s3cret-of-the-shop"}
        self.assertEqual(self.status("/alerts", **accepted), 200)
        self.assertEqual(self.reload(), "Nothing has changed.")
        self.assertEqual(self.status("/alerts", **accepted), 429)

    def test_notice(self) -> None:
        """Without a secret there is one notice, which says what to set."""
        self.start()
        self.assertEqual(self.reload(), "Nothing has changed.")
        [notice] = [message.text for message in self.bot.messages if message.is_notice]
        self.assertIn("by the option secret of WEBHOOKS['Alerts:alerted'], such as env:NAME", notice)
