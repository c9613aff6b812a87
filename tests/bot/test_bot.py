"""Tests for the bot between networks, plugins and web server."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from errklein import BotPlugin, botcmd, webhook
from errklein.chat import Presence
from errklein.networks.test import TestPerson
from errklein.testing import PluginTestCase, TestBot
from tests.doubles import NetworksCase


class Listener(BotPlugin):
    """Records the callbacks that it gets."""

    def __init__(self, bot: Any, name: str | None = None) -> None:
        super().__init__(bot, name)
        self.heard: list[Any] = []

    def callback_connect(self) -> None:
        self.heard.append("connect")

    def callback_message(self, message: Any) -> None:
        self.heard.append(f"message {message.body}")

    async def callback_mention(self, message: Any, mentioned_people: Any) -> None:
        self.heard.append(("mention", [str(person) for person in mentioned_people], self.bot_identifier.network))


class Second(Listener):
    """Another plugin with callbacks, after one that raises."""


class CallbackTests(NetworksCase):
    """Events that reach plugins' callbacks."""

    plugins = (Listener, Second)

    def setUp(self) -> None:
        """Have the plugins at hand, and forget how they started."""
        super().setUp()
        self.first: Any = self.bot.plugin_manager.instance("Listener")
        self.second: Any = self.bot.plugin_manager.instance("Second")
        self.assertEqual(self.first.heard, ["connect"] * 3)
        self.first.heard.clear()
        self.second.heard.clear()

    def test_mentions(self) -> None:
        """`callback_mention` gets the mentioned people, with the message's network as the current one."""
        self.say("hello @carol", network="console")
        self.assertEqual(self.first.heard, ["message hello @carol", ("mention", ["@carol"], "console")])

    def test_inactive_plugins(self) -> None:
        """An inactive plugin gets no callbacks."""
        self.successResultOf(self.bot.plugin_manager.deactivate("Listener"))
        self.say("hello")
        self.assertEqual((self.first.heard, self.second.heard), ([], ["message hello"]))


class Located(BotPlugin):
    """Records the current network in its callbacks."""

    def __init__(self, bot: Any, name: str | None = None) -> None:
        super().__init__(bot, name)
        self.at_hand: list[tuple[str, str]] = []

    def note(self, *_: Any) -> None:
        self.at_hand.append((self.bot_identifier.network, self.build_identifier("carol").network))

    callback_connect = callback_presence = callback_botmessage = note
    callback_room_joined = callback_room_left = callback_room_topic = note


class LocatedTests(NetworksCase):
    """During a callback, the current network is the one that reported the event."""

    plugins = (Located,)

    def test_each_callback(self) -> None:
        """In each callback, the bot's identifier and names without a network are those of the event's network."""
        plugin: Any = self.bot.plugin_manager.instance("Located")
        plugin.at_hand.clear()
        self.bot.events.backend_connected(self.backends["console"])
        self.bot.events.presence_changed(self.backends["console"], Presence(TestPerson("bob"), "away"))
        room = self.bot.query_room("console:#ops")
        room.join()
        room.topic = "quiet"
        room.leave()
        plugin.send(plugin.build_identifier("console:bob"), "hello")
        self.assertEqual(plugin.at_hand, [("console", "console")] * 6)


class Finder(BotPlugin):
    """Builds identifiers in commands and webhooks."""

    gate: Deferred[None]

    @botcmd
    def find(self, msg: Any, args: str) -> str:
        return self.build_identifier(args).network

    @botcmd
    async def find_later(self, msg: Any, args: str) -> str:
        self.gate = Deferred()
        await self.gate
        return f"{self.build_identifier(args).network} {self.mode} {self._bot.prefix}"

    @botcmd
    def tell(self, msg: Any, args: str) -> None:
        self.send(self.build_identifier(args), "you are told")

    @botcmd
    def tell_made(self, msg: Any, args: str) -> None:
        self.send(TestPerson(args), "you are told")

    @botcmd
    def reply_in_room(self, msg: Any, args: str) -> None:
        self.send(msg.to, "here", in_reply_to=msg, groupchat_nick_reply=True)

    @webhook
    def hook(self, payload: Any) -> str:
        return self.build_identifier("carol").network

    def callback_message(self, message: Any) -> None:
        if message.body == "find":
            self.send(message.frm, self.build_identifier("carol").network)


class NetworkTests(NetworksCase):
    """The network of an identifier, a message or a command."""

    networks = {
        "libera": {"CHATROOM_PRESENCE": ("#ops",)},
        "console": {"CHATROOM_PRESENCE": ("#here",), "BOT_PREFIX": "."},
    }
    plugins = (Finder,)

    def test_named(self) -> None:
        """A name with a network is on that network everywhere."""
        for name in self.networks:
            identifier = self.bot.build_identifier(f"{name}:#ops")
            self.assertEqual((identifier.network, str(identifier)), (name, "#ops"))
            self.assertEqual(self.bot.query_room(f"{name}:#ops"), identifier)
        self.assertEqual(str(self.bot.build_identifier("nowhere:#ops")), "nowhere:#ops")

    def test_bare_name(self) -> None:
        """A name without a network is on the network of the message being handled, otherwise on the first one."""
        self.assertEqual(self.bot.build_identifier("carol").network, "libera")
        self.assertEqual(self.say(".find carol", network="console"), ["console"])
        self.assertEqual(self.say("find", network="console"), ["console"])
        self.assertEqual(self.say("!find carol"), ["libera"])
        answer = self.successResultOf(self.bot.web.request("POST", "/hook"))
        self.assertEqual(answer.text, "libera")

    def test_bare_name_after_an_await(self) -> None:
        """After an await, a name is still on the network of the message, whatever arrived meanwhile."""
        self.say(".find later carol", network="console")
        finder: Any = self.bot.plugin_manager.instance("Finder")
        gate = finder.gate
        self.say("!find carol")
        gate.callback(None)
        self.assertEqual(self.texts("console"), ["console test ."])

    def test_send_follows_its_identifier(self) -> None:
        """A message goes to the network of its recipient."""
        self.say(".tell libera:bob", network="console")
        self.say("!tell console:#here")
        self.assertEqual(
            (self.sent("libera"), self.sent("console")), ([("bob", "you are told")], [("#here", "you are told")])
        )

    def test_identifiers_made_by_hand(self) -> None:
        """An identifier without a network is on the message's; one of an unknown network is an error."""
        self.say(".tell made bob", network="console")
        self.assertEqual(self.sent("console"), [("bob", "you are told")])
        stray = TestPerson("bob")
        stray.network = "oftc"
        error = self.assertRaises(ValueError, self.bot.send, stray, "hello")
        self.assertIn("oftc", str(error))
        self.assertIn("build_identifier", str(self.assertRaises(ValueError, self.bot.send, "bob", "hello")))

    def test_rooms_of_the_configuration(self) -> None:
        """CHATROOM_PRESENCE has the rooms of all networks, and `build_identifier` finds each."""
        self.assertEqual(self.config.CHATROOM_PRESENCE, ("libera:#ops", "console:#here"))
        for room in self.config.CHATROOM_PRESENCE:
            self.bot.send(self.bot.build_identifier(room), "hello")
        self.assertEqual(self.sent("libera") + self.sent("console"), [("#ops", "hello"), ("#here", "hello")])
        self.assertEqual(sorted(str(room) for room in self.bot.rooms()), ["#here", "#ops"])

    def test_reply_with_nick(self) -> None:
        """With `groupchat_nick_reply`, the reply begins with the sender's nick."""
        self.assertEqual(self.say("!reply in room", to="#ops"), ["@bob here"])

    def test_presence_on_all(self) -> None:
        """A change of presence shows on every network."""
        self.bot.change_presence("away", "lunch")
        self.assertEqual([backend.presence for backend in self.backends.values()], [("away", "lunch")] * 2)


class AdminTests(NetworksCase):
    """Recipients of notices to administrators."""

    networks = {
        "libera": {"BOT_ADMINS": ("alice", "*!*@trusted"), "BOT_ADMINS_NOTIFICATIONS": ("alice", "")},
        "console": {"BOT_ADMINS": ("root",)},
    }

    def test_warn_admins(self) -> None:
        """The administrators of each network get the notice, even if one of them can't be reached."""
        self.bot.warn_admins("careful")
        self.assertEqual(self.sent("libera"), [("alice", "careful")])
        self.assertEqual(self.sent("console"), [("root", "careful")])
        self.bot.warn_admins("no answer from https://me:pw@host")
        self.assertEqual(self.sent("console")[1], ("root", "no answer from https://•••@host"))

    def test_texts_of_exceptions(self) -> None:
        """Rooms and other people get a summary with an error id; administrators and the log get the text."""
        for recipients in (("alice", "carol", "#ops"), ("alice",)):
            self.config.networks["libera"].BOT_ADMINS_NOTIFICATIONS = recipients
            self.bot.tell_admins("A plugin failed: KeyError: 'x1' at https://me:pw@host", "A plugin failed")
        told = dict(self.sent("libera")[:3])
        self.assertEqual(told["alice"], "A plugin failed: KeyError: 'x1' at https://•••@host")
        self.assertRegex(told["#ops"], r"^A plugin failed \(error [0-9a-f]{8}\)\.$")
        self.assertEqual(told["carol"], told["#ops"])
        [line] = [line for line in self.test_bot.log if told["#ops"][-10:-2] in line]
        self.assertIn("'x1'", line)
        self.assertNotIn("me:pw", line)

    def test_one_network_that_takes_nothing(self) -> None:
        """A notice reaches the other networks if one can't send."""
        self.successResultOf(self.backends["libera"].disconnect())
        self.bot.warn_admins("careful")
        self.assertEqual(self.sent("console"), [("root", "careful")])


TOKEN = "xoxb-0123456789"


class Failing(BotPlugin):
    """Has webhooks that fail."""

    @webhook
    def one(self, payload: Any) -> str:
        raise RuntimeError("out of ink")

    @webhook
    def two(self, payload: Any) -> str:
        raise ValueError("out of ink")

    @webhook
    async def masked(self, payload: Any) -> None:
        raise RuntimeError(f"no answer from https://root:{TOKEN}@host, {self.bot_config.BOT_IDENTITY}")

    @webhook
    async def never(self, payload: Any) -> None:
        await Deferred()


class FailureTests(PluginTestCase):
    """Notices to administrators about failing webhooks."""

    plugins = (Failing,)
    config = {"BOT_IDENTITY": {"token": TOKEN}, "BOT_ADMINS_NOTIFICATIONS": ("@admin", "#testroom")}

    def test_file_line_and_text(self) -> None:
        """An administrator learns which request failed, in which file and line, and the exception's text."""
        response = self.post("/one")
        self.assertEqual(response.status, 500)
        (notice,) = self.bot.sent_to("@admin")
        line = Failing.one.__code__.co_firstlineno + 2
        self.assertEqual(
            notice,
            f"The webhook Failing:one (/one) failed on request {response.header('X-Request-Id')}. "
            f"{__file__}, line {line}: RuntimeError: out of ink",
        )
        self.flushLoggedErrors(RuntimeError)

    def test_secrets_are_masked(self) -> None:
        """Secrets of the configuration, and passwords in URLs, are masked in the exception's text."""
        self.post("/masked")
        (notice,) = self.bot.sent_to("@admin")
        self.assertIn("no answer from https://•••@host", notice)
        self.assertNotIn(TOKEN, notice)
        self.flushLoggedErrors(RuntimeError)

    def test_rooms_do_not_get_the_text(self) -> None:
        """A room in BOT_ADMINS_NOTIFICATIONS gets the exception's class and an error id, by which the log has the text."""
        self.post("/one")
        (notice,) = self.bot.sent_to("#testroom")
        self.assertRegex(
            notice,
            r"^The webhook Failing:one \(/one\) failed with RuntimeError on request \S+ \(error [0-9a-f]{8}\)\.$",
        )
        error_id = notice[-11:-2]
        self.assertTrue([line for line in self.bot.log if error_id in line and "out of ink" in line])
        self.flushLoggedErrors(RuntimeError)

    def test_once_a_minute_for_each_hook(self) -> None:
        """A handler that fails again within a minute causes no further notice; another handler does."""
        self.post("/one")
        self.bot.advance(59)
        self.post("/one")
        self.assertEqual(len(self.bot.sent_to("@admin")), 1)
        self.post("/two")
        self.assertEqual(len(self.bot.sent_to("@admin")), 2)
        self.bot.advance(1)
        self.post("/one")
        self.assertEqual(len(self.bot.sent_to("@admin")), 3)
        self.flushLoggedErrors(RuntimeError, ValueError)

    def test_overdue(self) -> None:
        """A handler that exceeds its timeout causes one notice for several requests."""
        answers = [self.bot.post("/never"), self.bot.post("/never")]
        self.bot.advance(61)
        self.assertEqual([self.successResultOf(answer).status for answer in answers], [504, 504])
        (warning,) = self.bot.sent_to("@admin")
        self.assertIn("Failing:never", warning)
        self.assertIn("60 s", warning)


class Early(BotPlugin):
    """Declares a URL first."""

    @webhook("/shared")
    def handler(self, payload: Any) -> str:
        return "early"


class Late(BotPlugin):
    """Declares the same URL."""

    @webhook("/shared")
    def handler(self, payload: Any) -> str:
        return "late"

    @webhook
    def other(self, payload: Any) -> str:
        return "other"


class ClashTests(PluginTestCase):
    """Two plugins that declare one URL."""

    plugins = (Early, Late)

    def test_admins_learn_of_route_conflict(self) -> None:
        """The first plugin keeps the URL, the second its other webhooks, and one notice names both."""
        (warning,) = self.bot.sent_to("@admin")
        for part in ("Early", "Late", "/shared"):
            self.assertIn(part, warning)
        self.assertEqual((self.post("/shared").text, self.post("/other").text), ("early", "other"))
        self.command("!plugin deactivate Early")
        self.assertEqual(self.post("/shared").text, "late")
        self.bot.say("!plugin activate Early")
        self.assertEqual(self.post("/shared").text, "late")
        self.assertEqual(len([text for text in self.bot.sent_to("@admin") if "/shared" in text]), 2)


class Slow(BotPlugin):
    """Has a command that takes time."""

    gate: Deferred[None]

    def activate(self) -> None:
        super().activate()
        self.heard: list[str] = []

    @botcmd
    async def slow(self, msg: Any, args: str) -> str:
        self.gate = Deferred()
        await self.gate
        return "at last"

    @botcmd
    def loud(self, msg: Any, args: str) -> str:
        return "loud"

    def callback_message(self, message: Any) -> None:
        self.heard.append(message.body)


class EndTests(NetworksCase):
    """The end of a bot whose networks have ended."""

    plugins = (Slow,)

    def setUp(self) -> None:
        """Have the plugin at hand."""
        super().setUp()
        self.slow: Any = self.bot.plugin_manager.instance("Slow")

    def test_after_the_last_reply(self) -> None:
        """When all networks have ended, the bot ends after its last reply."""
        self.say("!slow")
        for backend in self.backends.values():
            self.bot.events.backend_ended(backend)
        self.reactor.advance(1)
        self.assertFalse(self.test_bot.has_ended)
        self.slow.gate.callback(None)
        self.reactor.advance(0)
        self.assertEqual((self.texts(), self.test_bot.has_ended), (["at last"], True))

    def test_not_while_a_network_is_there(self) -> None:
        """The bot continues while one network continues."""
        self.bot.events.backend_ended(self.backends["libera"])
        self.reactor.advance(1)
        self.assertFalse(self.test_bot.has_ended)
        self.bot.events.backend_ended(self.backends["console"])
        self.reactor.advance(1)
        self.assertTrue(self.test_bot.has_ended)

    def test_not_while_something_listens(self) -> None:
        """The bot continues while its web server listens, also without a network."""
        self.successResultOf(self.bot.web.listeners.open("tcp:8080"))
        for backend in self.backends.values():
            self.bot.events.backend_ended(backend)
        self.reactor.advance(1)
        self.assertFalse(self.test_bot.has_ended)


class StopTests(NetworksCase):
    """The stop of the bot."""

    plugins = (Slow,)

    def test_intake_stops_and_answers_are_sent(self) -> None:
        """While the bot stops it accepts nothing new, and running handlers may still reply."""
        slow: Any = self.bot.plugin_manager.instance("Slow")
        self.say("!slow")
        heard = list(slow.heard)
        stopping = Deferred.fromCoroutine(self.bot.stop(10))
        self.assertEqual(self.say("!loud") + self.say("!nothing") + self.say("hello @bob"), [])
        self.assertEqual(slow.heard, heard)
        self.assertEqual(self.successResultOf(self.bot.web.request("POST", "/x")).status, 503)
        self.assertNoResult(stopping)
        slow.gate.callback(None)
        self.successResultOf(stopping)
        self.assertEqual(self.texts(), ["at last"])
        self.assertFalse(slow.is_activated)

    def test_grace_period(self) -> None:
        """Handlers that run longer than the grace period don't delay the stop."""
        self.say("!slow")
        stopping = Deferred.fromCoroutine(self.bot.stop(10))
        self.reactor.advance(9)
        self.assertNoResult(stopping)
        self.reactor.advance(1)
        self.successResultOf(stopping)


class Talker(BotPlugin):
    """Sends a message when it is deactivated."""

    gate: Deferred[None] | None = None

    def deactivate(self) -> Any:
        super().deactivate()
        self.send(self.build_identifier("bob"), "good-bye")
        return self.gate


class DrainTests(NetworksCase):
    """The time that networks stay connected while the bot stops."""

    plugins = (Slow, Talker)

    def setUp(self) -> None:
        """Note when and with how much time each network is left."""
        super().setUp()
        self.left: list[tuple[float, float]] = []
        backend = self.backends["libera"]
        disconnect = backend.disconnect

        def leave(grace: float = 0.0) -> Deferred[None]:
            self.left.append((self.reactor.seconds() - self.begun, grace))
            return disconnect(grace)

        self.patch(backend, "disconnect", leave)
        self.begun = self.reactor.seconds()

    def stop(self) -> Deferred[None]:
        """Begin to stop with 10 s of grace."""
        self.begun = self.reactor.seconds()
        return Deferred.fromCoroutine(self.bot.stop(10))

    def test_idle_bot_leaves_the_whole_grace_period_to_the_queue(self) -> None:
        """Without running handlers, queued messages get the whole grace period."""
        self.successResultOf(self.stop())
        self.assertEqual(self.left, [(0, 10)])
        self.assertEqual(self.texts()[-1], "good-bye")

    def test_networks_stay_while_handlers_run(self) -> None:
        """Networks disconnect after the handlers, with the rest of the grace period for the queue."""
        slow: Any = self.bot.plugin_manager.instance("Slow")
        self.say("!slow")
        stopping = self.stop()
        self.reactor.advance(4)
        self.assertEqual(self.left, [])
        slow.gate.callback(None)
        self.successResultOf(stopping)
        self.assertEqual(self.left, [(4, 6)])
        self.assertEqual(self.texts()[-2:], ["at last", "good-bye"])

    def test_networks_are_left_at_the_end_of_the_grace_period(self) -> None:
        """With a handler that never ends, messages of `deactivate` are still accepted."""
        self.say("!slow")
        stopping = self.stop()
        self.reactor.advance(10)
        self.successResultOf(stopping)
        self.assertEqual(self.left, [(10, 0)])
        self.assertEqual(self.texts()[-1], "good-bye")

    def test_a_plugin_that_hangs_takes_no_more_than_the_rest(self) -> None:
        """A handler and a `deactivate` that hang delay the networks by less than a second."""
        talker: Any = self.bot.plugin_manager.instance("Talker")
        talker.gate = Deferred()
        self.say("!slow")
        stopping = self.stop()
        self.reactor.advance(10)
        self.assertNoResult(stopping)
        self.reactor.advance(0.3)
        self.successResultOf(stopping)
        self.assertEqual(len(self.left), 1)
        talker.gate.callback(None)


class SlowStart(BotPlugin):
    """Has an `activate` that takes time."""

    gate: Deferred[None]

    async def activate(self) -> None:
        SlowStart.gate = Deferred()
        await self.gate
        super().activate()


class StartTests(SynchronousTestCase):
    """Events during the start of the bot."""

    def test_stopped_before_it_has_started(self) -> None:
        """A bot that is stopped during its start connects to no network, and deactivates its plugins."""
        test_bot = TestBot((SlowStart,))
        bot = test_bot.bot
        starting = Deferred.fromCoroutine(bot.start())
        stopping = Deferred.fromCoroutine(bot.stop(10))
        connected: list[Any] = []
        self.patch(test_bot.backend, "connect", connected.append)
        test_bot.reactor.advance(10)
        SlowStart.gate.callback(None)
        test_bot.reactor.advance(0)
        self.successResultOf(starting)
        self.successResultOf(stopping)
        self.assertEqual(connected, [])
        self.assertFalse(bot.plugin_manager.instance("SlowStart").is_activated)
        self.assertEqual(test_bot.reactor.getDelayedCalls(), [])
