"""Tests for notices that administrators have missed."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any, cast

from twisted.internet.defer import Deferred, fail, maybeDeferred
from twisted.trial.unittest import SynchronousTestCase

from errklein.bot._notices import LIFETIME, LONGEST, MOST_KEPT, MissedNotices
from errklein.chat import AWAY, ONLINE, Presence
from errklein.plugins.store_mixin import StoredValues
from errklein.ports.outbox import SentLater
from errklein.testing import PluginTestCase
from tests.networks.irc.whole_bot import WholeBotCase


class Values:
    """Stores values in `work`, or at once."""

    def __init__(self, store: dict[str, Any], at_once: bool = True) -> None:
        self.store, self.at_once = store, at_once
        self.jobs: list[tuple[Callable[[], None], Deferred[None]]] = []

    def set(self, key: str, value: Any) -> Deferred[None]:
        """Store a copy of the value."""
        job = partial(self.store.__setitem__, key, copy.deepcopy(value))
        if self.at_once:
            return maybeDeferred(job)
        done: Deferred[None] = Deferred()
        self.jobs.append((job, done))
        return done

    def work(self) -> None:
        """Store what waits."""
        for job, done in self.jobs:
            job()
            done.callback(None)
        self.jobs.clear()


class KeptTests(SynchronousTestCase):
    """How many notices are kept, and for how long."""

    def setUp(self) -> None:
        """Keep notices in a dict."""
        self.now = 1000.0
        self.store: dict[str, Any] = {}
        self.missed = self.opened()

    def opened(self) -> MissedNotices:
        """Return the notices as a bot has them after its start."""
        return self.with_values(Values(self.store))

    def with_values(self, values: Values) -> MissedNotices:
        """Return the notices, which are stored so."""
        missed = MissedNotices(self.store, cast(StoredValues, values), lambda: self.now)
        missed.restore()
        return missed

    def test_kept_notices_survive_a_restart(self) -> None:
        """Notices are stored, by network and recipient, until they are delivered."""
        self.missed.add("libera", "alice", "one")
        self.missed.add("libera", "bob", "two")
        self.missed.add("oftc", "alice", "three")
        missed = self.opened()
        self.assertEqual(missed.recipients("libera"), ["alice", "bob"])
        self.assertEqual(missed.take("libera", "alice"), [(1000.0, "one")])
        self.assertEqual(self.opened().recipients("libera"), ["alice", "bob"])
        missed.changed()
        self.assertEqual(self.opened().recipients("libera"), ["bob"])

    def test_forget(self) -> None:
        """The notices of recipients on a network are removed, and not stored any more; those of others stay."""
        for network, admin in (("libera", "alice"), ("libera", "alice"), ("libera", "bob"), ("oftc", "alice")):
            self.missed.add(network, admin, "one")
        forgotten = Deferred.fromCoroutine(self.missed.forget("libera", lambda admin: admin == "alice"))
        self.assertEqual(self.successResultOf(forgotten), 2)
        self.assertEqual([self.opened().recipients(network) for network in ("libera", "oftc")], [["bob"], ["alice"]])

    def test_limits(self) -> None:
        """The latest notices are kept, each shortened."""
        for number in range(MOST_KEPT + 5):
            self.now += 1
            self.missed.add("libera", "alice", f"{number} {'x' * 2 * LONGEST}")
        kept = self.missed.take("libera", "alice")
        self.assertEqual([text.partition(" ")[0] for _, text in kept], [str(5 + number) for number in range(MOST_KEPT)])
        self.assertEqual({len(text) for _, text in kept}, {LONGEST + 1})

    def test_lifetime(self) -> None:
        """Old notices are removed."""
        self.missed.add("libera", "alice", "old")
        self.now += LIFETIME + 1
        self.missed.add("libera", "bob", "new")
        self.assertEqual(self.opened().recipients("libera"), ["bob"])
        self.now += LIFETIME + 1
        self.assertEqual(self.missed.take("libera", "bob"), [])

    def test_order(self) -> None:
        """Notices that could not be delivered are kept before later ones."""
        self.missed.add("libera", "alice", "first")
        taken = self.missed.take("libera", "alice")
        self.now += 1
        self.missed.add("libera", "alice", "second")
        self.missed.keep("libera", "alice", taken)
        self.assertEqual(self.missed.take("libera", "alice"), [(1000.0, "first"), (1001.0, "second")])

    def test_slow_storage(self) -> None:
        """Notices are stored in their order, and at the stop those that still wait for the disk."""
        values = Values(self.store, at_once=False)
        missed = self.with_values(values)
        for text in ("one", "two", "three"):
            missed.add("libera", "alice", text)
        self.assertEqual(self.store, {})
        values.work()
        self.assertEqual(len(self.opened().take("libera", "alice")), 3)
        missed.add("libera", "bob", "four")
        missed.stop()
        self.assertEqual(self.opened().recipients("libera"), ["alice", "bob"])

    def test_nothing_to_store(self) -> None:
        """The stop of a bot without new notices writes nothing."""
        self.missed.stop()
        self.assertEqual(self.store, {})

    def test_after_the_stop(self) -> None:
        """A notice that arrives after the stop isn't stored, since the storage may be closed."""
        values = Values(self.store, at_once=False)
        missed = self.with_values(values)
        missed.stop()
        missed.add("libera", "bob", "two")
        self.assertEqual(values.jobs, [])

    def test_storage_that_fails(self) -> None:
        """Notices are stored at the end if they could not be stored before. If that fails, the bot stops nevertheless."""

        class Failing(dict[str, Any]):
            fails = True

            def __setitem__(self, key: str, value: Any) -> None:
                if self.fails:
                    raise OSError("disk full")
                super().__setitem__(key, value)

        self.store = Failing()
        missed = self.opened()
        missed.add("libera", "alice", "one")
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)
        missed.stop()
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)
        self.assertEqual(self.store, {})
        missed = self.opened()
        missed.add("libera", "alice", "one")
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)
        self.store.fails = False
        missed.stop()
        self.assertEqual(self.opened().recipients("libera"), ["alice"])


class NetworkTests(PluginTestCase):
    """A network that keeps messages for people who are offline."""

    def fail_to_send(self) -> Any:
        """Let the network take no message until `restore` of the result is called."""

        def refuse(message: Any) -> None:
            raise OSError("no connection")

        patch = self.patch(self.bot.backend, "send_message", refuse)
        self.bot.bot.warn_admins("careful")
        self.assertEqual(self.bot.messages, [])
        return patch

    def test_notices_that_arrive(self) -> None:
        """A notice that the network has taken is sent once."""
        self.bot.bot.warn_admins("careful")
        self.bot.say("good morning")
        self.assertEqual(self.bot.sent_to("@admin"), ["careful"])

    def test_notice_that_is_sent_after_the_next_start(self) -> None:
        """A notice that the outbox has stored at the stop isn't sent a second time as a missed one."""
        patch = self.patch(self.bot.backend, "send_message", lambda message: fail(SentLater("the bot stops")))
        self.bot.bot.warn_admins("careful")
        patch.restore()
        self.bot.say("good morning")
        self.assertEqual(self.bot.messages, [])

    def test_next_message(self) -> None:
        """A notice that could not be sent is sent, with its time, when the administrator writes to the bot; only once."""
        self.fail_to_send().restore()
        self.bot.say("good morning", frm="@bob")
        self.bot.say("good morning", room="#ops")
        self.assertEqual(self.bot.messages, [])
        for _ in range(2):
            self.bot.say("good morning")
        [text] = self.bot.sent_to("@admin")
        self.assertRegex(text, r"^Notices that you may have missed:\s+\d{4}-\d\d-\d\d \d\d:\d\d:\d\d: careful$")

    def test_presence(self) -> None:
        """It is sent when the administrator comes online."""
        self.fail_to_send().restore()
        admin = self.bot.backend.build_identifier("@admin")
        self.bot.bot.events.presence_changed(self.bot.backend, Presence(admin, AWAY))
        self.assertEqual(self.bot.messages, [])
        self.bot.bot.events.presence_changed(self.bot.backend, Presence(admin, ONLINE))
        self.assertIn("careful", self.bot.sent_to("@admin")[0])

    def test_many(self) -> None:
        """If there are more notices than are kept, the message says where the others are."""
        refusing = self.fail_to_send()
        for number in range(MOST_KEPT):
            self.bot.bot.warn_admins(f"problem {number}")
        refusing.restore()
        self.bot.say("good morning")
        [text] = self.bot.sent_to("@admin")
        self.assertTrue(text.startswith("Notices that you may have missed; older ones are in the log:"), text)
        self.assertNotIn("careful", text)
        self.assertIn("problem 0", text)

    def test_repeated_failure(self) -> None:
        """It is kept if it can't be sent again."""
        refusing = self.fail_to_send()
        self.bot.say("good morning")
        refusing.restore()
        self.bot.say("good morning")
        self.assertIn("careful", self.bot.sent_to("@admin")[0])


class IRCTests(WholeBotCase):
    """A network on which nobody owns a nick."""

    settings = {"BOT_ADMINS": ("boss!*@trusted",), "BOT_ADMINS_NOTIFICATIONS": ("boss",)}

    def lines(self) -> list[str]:
        """Return the messages that the bot has written to people."""
        self.test_bot.reactor.advance(0)
        self.server.answer()
        return [line for line in self.server.take() if line.startswith("PRIVMSG")]

    def notify(self) -> list[str]:
        """Notify the administrators of an exception's text, and return the lines."""
        self.bot.tell_admins("A plugin failed: KeyError: 'x1'", "A plugin failed")
        return self.lines()

    def test_offline_administrator(self) -> None:
        """An administrator who was offline gets the notice, with the exception's text, after a message to the bot."""
        self.assertNotIn("x1", str(self.notify()))
        self.server.say(":boss!b@trusted PRIVMSG errklein :good morning")
        header, text = self.lines()
        self.assertEqual(header, "PRIVMSG boss :Notices that you may have missed:")
        self.assertRegex(text, r"^PRIVMSG boss :\d{4}-\d\d-\d\d \d\d:\d\d:\d\d: A plugin failed: KeyError: 'x1'$")

    def test_join(self) -> None:
        """The administrator gets it when entering a room of the bot."""
        self.notify()
        self.server.say(":boss!b@trusted JOIN #ops")
        self.assertIn("A plugin failed: KeyError: 'x1'", str(self.lines()))
        self.server.say(":boss!b@trusted PRIVMSG errklein :good morning")
        self.assertEqual(self.lines(), [])

    def test_stranger_with_the_nick(self) -> None:
        """Another person with the administrator's nick gets no missed notice."""
        self.notify()
        self.server.say(":boss!b@evil JOIN #ops", ":boss!b@evil PRIVMSG errklein :good morning")
        self.assertEqual(self.lines(), [])
        self.server.say(":boss!b@evil QUIT :bye", ":BOSS!b@trusted PRIVMSG errklein :good morning")
        self.assertIn("PRIVMSG BOSS :Notices", str(self.lines()))

    def test_present(self) -> None:
        """An administrator whom the bot can recognise gets a notice once."""
        self.server.say(":boss!b@trusted JOIN #ops")
        self.assertEqual(self.notify(), ["PRIVMSG boss :A plugin failed: KeyError: 'x1'"])
        self.server.say(":boss!b@trusted PRIVMSG errklein :good morning")
        self.assertEqual(self.lines(), [])

    def test_no_such_nick(self) -> None:
        """A notice that the server rejects is kept although the administrator seemed present."""
        self.server.say(":boss!b@trusted PRIVMSG errklein :good morning")
        self.bot.warn_admins("careful")
        self.test_bot.reactor.advance(0)
        self.server.read()
        self.server.say(":irc.example 401 errklein boss :No such nick/channel")
        self.lines()
        self.server.say(":boss!b@trusted PRIVMSG errklein :good morning")
        self.assertIn("careful", str(self.lines()))
