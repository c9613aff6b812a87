"""The Apprise network, which really sends to an HTTP server by Apprise's own scheme `json`."""

from __future__ import annotations

import logging
import os
import pickle
import re
from importlib.util import find_spec
from threading import Thread
from types import SimpleNamespace
from typing import Any, cast
from unittest import mock, skipIf

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.python.threadable import registerAsIOThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from errklein.chat import Message
from errklein.chat.operations import Kind, Unsupported, Wanted
from errklein.config import ConfigError
from errklein.networks.apprise import NETWORK
from errklein.networks.context import NetworkContext
from errklein.ports.chat import BackendEvents
from errklein.testing import TestBot
from errklein.testing._surroundings import InlinePool, TestReactor
from errklein.testing.backend_contract import RecordedEvents
from errklein.text.masking import masker
from tests.networks.apprise.service import Service
from tests.networks.test_text import configuration
from tests.processes import ROOT

if find_spec("apprise") is not None:
    from apprise.manager_plugins import NotificationManager

    from errklein.networks.apprise import _backend
    from errklein.networks.apprise._backend import SCHEMES, AppriseBackend

TOKEN = "Zq4tX9wLkP2vB7nM"
WITHOUT_LIBRARY = find_spec("apprise") is None
REASON = "Apprise isn't installed"


def identity(**targets: str) -> dict[str, Any]:
    """Return a BOT_IDENTITY whose targets have these URLs in the environment."""
    os.environ.update({f"{name.upper()}_URL": url for name, url in targets.items()})
    return {"targets": {name: f"env:{name.upper()}_URL" for name in targets}}


@skipIf(WITHOUT_LIBRARY, REASON)
class AppriseCase(SynchronousTestCase):
    """Has a service, and a backend with the targets #one and #two on it. Messages are sent in the thread of the test."""

    def setUp(self) -> None:
        registerAsIOThread()
        self.service, self.clock = Service(), Clock()
        self.addCleanup(self.service.stop)
        self.enterContext(mock.patch.dict(os.environ))
        self.patch(_backend, "WorkerPool", InlinePool)
        self.notices: list[str] = []
        self.logged: list[str] = []
        globalLogPublisher.addObserver(self.log)
        self.addCleanup(globalLogPublisher.removeObserver, self.log)

    def log(self, event: LogEvent) -> None:
        """Keep a log entry as it is written."""
        self.logged.append(formatEvent(event))

    def backend(self, **settings: Any) -> AppriseBackend:
        """Return a connected backend."""
        urls = {name: self.service.url(f"/{name}/{TOKEN}") for name in ("one", "two")}
        config = configuration(network="push", BACKEND="Apprise", BOT_IDENTITY=identity(**urls), **settings)
        self.events = RecordedEvents()
        context = NetworkContext(
            self.clock, config, self.clock.seconds, notify=lambda key, text, *more, **options: self.notices.append(text)
        )
        backend = NETWORK.make(context)
        assert isinstance(backend, AppriseBackend)
        backend.connect(cast(BackendEvents, self.events))
        return backend

    def received(self, name: str) -> list[str]:
        """Return what the service has got for a target."""
        return self.service.received[f"/{name}/{TOKEN}"]

    def send(self, backend: AppriseBackend, text: str, to: str = "#one", **attributes: Any) -> Any:
        """Send a text to a target."""
        message = Message(text, to=backend.build_identifier(to))
        vars(message).update(attributes)
        sent = backend.send_message(message)
        self.clock.advance(0)
        return sent


class SendingTests(AppriseCase):
    """Messages to targets."""

    def test_message(self) -> None:
        """A message arrives at its target, and its receipt fires."""
        backend = self.backend()
        sent = self.send(backend, "**deployed** version 7")
        self.assertEqual((["**deployed** version 7"], []), (self.received("one"), self.received("two")))
        self.assertEqual(str(sent), self.successResultOf(sent))

    def test_mentions(self) -> None:
        """`@channel` notifies nobody unless the message says so."""
        backend = self.backend()
        self.send(backend, "@channel look")
        self.send(backend, "@channel look", mentions=True)
        first, second = self.received("one")
        self.assertNotIn("@channel", first)
        self.assertEqual("@channel look", second)

    def test_long_message(self) -> None:
        """A message that is too long for the service is split, and arrives in order."""
        backend = self.backend(MESSAGE_SIZE_LIMIT=20)
        self.send(backend, "one two three four five six")
        self.assertEqual(["one two three four", "five six"], self.received("one"))

    def test_fallbacks(self) -> None:
        """An edit is a further message, and a deletion fails."""
        backend = self.backend()
        sent, room = self.send(backend, "red"), backend.build_identifier("#one")
        backend.perform(Message("green", to=room), Wanted(Kind.EDIT, str(sent)))
        deleted = backend.perform(Message(to=room), Wanted(Kind.DELETE, str(sent)))
        self.clock.advance(0)
        self.assertEqual(["red", "(corrected) green"], self.received("one"))
        self.failureResultOf(deleted, Unsupported)

    def test_refused(self) -> None:
        """What a service refuses is sent again after one minute, then two, at most 15; the other target isn't delayed."""
        backend = self.backend(OUTBOX_MAX_AGE=100_000.0)
        path = f"/one/{TOKEN}"
        self.service.refused.add(path)
        sent = [self.send(backend, text) for text in ("first", "second")]
        self.send(backend, "other", "#two")
        self.assertEqual(["other"], self.received("two"))
        self.assertEqual(1, len(self.notices))
        self.assertIn("push: a message to #one was not accepted", self.notices[0])
        tries = []
        notify = _backend.Target.notify
        self.patch(_backend.Target, "notify", lambda *args: tries.append(self.clock.seconds()) or notify(*args))
        self.clock.pump([10] * 420)
        self.assertEqual([60, 180, 420, 900, 1800, 2700, 3600], tries)
        self.service.refused.clear()
        self.clock.pump([10] * 90)
        # What is late has its time.
        self.assertEqual(["first", "second"], [text.split()[-1] for text in self.received("one")])
        self.assertEqual(sent, [self.successResultOf(one) for one in sent])
        self.assertEqual(1, len(self.notices))

    def test_nobody_answers(self) -> None:
        """A service that is down gets the message later."""
        backend = self.backend()
        self.service.stop()
        sent = self.send(backend, "hello")
        self.assertNoResult(sent)
        self.assertIn("Connection error", self.notices[0])
        self.clock.advance(59)
        self.assertEqual(1, backend.outbox.status.messages)

    def test_endless_answer(self) -> None:
        """An answer without an end counts as a failure after its first megabyte, also that of a redirect, which isn't followed."""
        for status in (200, 302, 500):
            backend = self.backend()
            self.service.endless[f"/one/{TOKEN}"], self.service.sent = status, 0
            sent = self.send(backend, "hello")
            self.assertNoResult(sent)
            self.assertLess(self.service.sent, 20_000_000)
            self.assertIn("was not accepted", self.notices.pop())
        self.assertNotIn("/elsewhere", self.service.received)

    def test_slow_answer(self) -> None:
        """An answer that comes bit by bit is given up, although each bit comes in time."""
        self.patch(_backend, "LONGEST_ANSWER", 0.0)
        backend = self.backend()
        self.service.endless[f"/one/{TOKEN}"] = 200
        self.assertNoResult(self.send(backend, "hello"))
        self.assertLess(self.service.sent, 20_000_000)
        self.assertIn("was not accepted", self.notices.pop())

    def test_disconnects(self) -> None:
        """`disconnect` sends what waits."""
        backend = self.backend()
        message = Message("bye", to=backend.build_identifier("#one"))
        backend.send_message(message)
        closed = backend.disconnect(5)
        self.clock.advance(0)
        self.successResultOf(closed)
        self.assertEqual(["bye"], self.received("one"))


class TargetTests(AppriseCase):
    """Targets are rooms."""

    def test_rooms(self) -> None:
        """The bot is in each target, which a plugin can store."""
        backend = self.backend()
        self.assertEqual(["#one", "#two"], [str(room) for room in backend.rooms()])
        room = backend.query_room("#one")
        stored = pickle.loads(pickle.dumps(room))
        self.assertEqual((True, "push", room, hash(room)), (stored.joined, stored.network, stored, hash(stored)))
        self.assertNotEqual(room, backend.query_room("#two"))

    def test_only_named_ones(self) -> None:
        """Neither a URL nor another name is a recipient."""
        backend = self.backend()
        for name in (self.service.url("/one"), "#three", "one", "", "@alice"):
            error = self.assertRaises(ValueError, backend.build_identifier, name)
            self.assertIn("only #one, #two", str(error))

    def test_removed_target(self) -> None:
        """A message of an earlier run to a target that isn't configured any more is rejected with that reason."""
        backend = self.backend()
        sent = backend.outbox.perform("#gone", "late")
        self.clock.advance(0)
        self.failureResultOf(sent)
        self.assertIn("push has no target '#gone'", " ".join(self.logged))

    def test_secret(self) -> None:
        """A URL, and the token in it, are in no log, notice or `repr`."""
        backend = self.backend()
        self.service.refused.add(f"/one/{TOKEN}")
        self.send(backend, "x")
        self.clock.advance(60)
        self.assertTrue(self.logged)
        texts = [*self.logged, *self.notices, repr(backend), repr(backend.query_room("#one"))]
        self.assertFalse([text for text in texts if TOKEN in text])
        for text in (f"POST /one/{TOKEN}", self.service.url(f"/one/{TOKEN}")):
            self.assertNotIn(TOKEN, masker(text))


@skipIf(WITHOUT_LIBRARY, REASON)
class SettingsTests(AppriseCase):
    """Mistakes are found at the start, and nothing is sent for that."""

    def refusal(self, settings: dict[str, Any]) -> str:
        """Return why a configuration is refused."""
        config = configuration(network="push", BACKEND="Apprise", BOT_IDENTITY=settings)
        return str(self.assertRaises(ConfigError, NETWORK.make, NetworkContext(self.clock, config)))

    def test_check(self) -> None:
        """`errklein network check` names the targets, and sends nothing."""
        config = configuration(network="push", BACKEND="Apprise", BOT_IDENTITY=identity(one=self.service.url("/one")))
        assert NETWORK.check is not None
        checked = self.successResultOf(
            Deferred.fromCoroutine(cast(Any, NETWORK.check(NetworkContext(self.clock, config))))
        )
        self.assertEqual("#one (json): valid; only a message shows whether a service accepts it", checked[0].text)
        self.assertFalse(self.service.received)

    def test_mistakes(self) -> None:
        """Each mistake is an error with the target and the remedy, without the URL."""
        for settings, expected in (
            ({}, "'targets' is missing"),
            ({"targets": {}}, "must be a dict such as {'teams': 'env:TEAMS_URL'}"),
            ({"targets": {"a b": "env:X"}}, "unlike 'a b'"),
            ({"targets": {"a": f"json://host/{TOKEN}"}}, "'a' doesn't name a secret"),
            ({"targets": {"a": "env:NOT_SET"}}, "the target 'a': env:NOT_SET: the secret is missing or empty"),
            ({"a": f"dbus://{TOKEN}"}, "URLs with 'dbus' aren't allowed"),
            ({"a": TOKEN}, "env:A_URL has no valid URL;"),
            ({"a": "gotify://x"}, "env:A_URL has no valid URL;"),
            ({"a": "json://localhost", "schemes": "dbus"}, "must be a list of schemes"),
        ):
            if url := settings.pop("a", None):
                settings |= identity(a=url)
            found = self.refusal(settings)
            self.assertIn(expected, found)
            self.assertNotIn(TOKEN.lower(), found.lower())

    def test_further_schemes(self) -> None:
        """`schemes` allows others."""
        settings = identity(a="xmpp://localhost") | {"schemes": ["xmpp"]}
        self.assertNotIn("aren't allowed", self.refusal(settings))

    def test_at_the_start(self) -> None:
        """The settings are checked before a daemon starts."""
        view = configuration(network="push", BACKEND="Apprise", BOT_IDENTITY=identity(a="dbus://"))
        self.assertRaises(ConfigError, NETWORK.settings.check, view)
        self.assertEqual((["apprise"], "errklein[apprise]"), (NETWORK.libraries, NETWORK.extra))

    def test_schemes(self) -> None:
        """Apprise knows each scheme that is allowed, and none of them acts on this computer."""
        known = set(NotificationManager().schemas())
        self.assertEqual(set(), set(SCHEMES.split()) - known)
        self.assertFalse({"dbus", "gnome", "macosx", "syslog", "windows"} & set(SCHEMES.split()))
        page = (ROOT / "docs" / "guides" / "apprise.md").read_text(encoding="utf-8")
        [listed] = re.findall(r"These schemes are allowed: (.*)\.", page)
        self.assertEqual(re.findall(r"`(\w+)`", listed), SCHEMES.split())
        self.assertEqual(re.findall(r"(?m)^\| `(\w+)` \|", page), list(NETWORK.settings.keys))


@skipIf(WITHOUT_LIBRARY, REASON)
class ThreadTests(TestCase):
    """Services are called in threads."""

    def test_reason_of_another_target(self) -> None:
        """The reason for a failure is that of the target, whatever fails in other threads meanwhile."""
        logger = logging.getLogger("apprise")

        def notify(**options: Any) -> bool:
            other = Thread(target=logger.warning, args=("the other one is full",))
            other.start()
            other.join()
            logger.warning("this one is closed")
            return False

        sender: Any = SimpleNamespace(notify=notify)
        with self.assertRaisesRegex(ConnectionError, "^this one is closed$"):
            _backend.Target("json", "text", 1000, sender).notify("hello")

    async def test_hung_target(self) -> None:
        """A target that doesn't answer delays no other one."""
        from twisted.internet import reactor

        service = Service(threads=True)
        self.addCleanup(service.stop)
        self.enterContext(mock.patch.dict(os.environ))
        service.hung.add("/one")
        names = identity(one=service.url("/one"), two=service.url("/two"))
        backend = NETWORK.make(NetworkContext(reactor, configuration(network="push", BOT_IDENTITY=names)))
        backend.connect(cast(BackendEvents, RecordedEvents()))
        for text in ("1", "2", "3"):
            backend.send_message(Message(text, to=backend.query_room("#one"))).addErrback(lambda _: None)
        for text in ("4", "5"):
            await backend.send_message(Message(text, to=backend.query_room("#two")))
        self.assertEqual((["4", "5"], []), (service.received["/two"], service.received["/one"]))
        await backend.disconnect()

    def test_thread_that_does_not_end(self) -> None:
        """A service whose thread doesn't end counts as failed after two minutes, and gets no other thread meanwhile."""
        registerAsIOThread()
        clock, jobs, notices = Clock(), list[Deferred[None]](), list[str]()
        self.patch(_backend.WorkerPool, "run", lambda pool, prepare: jobs.append(Deferred()) or jobs[-1])
        self.enterContext(mock.patch.dict(os.environ))
        config = configuration(network="push", BOT_IDENTITY=identity(one="json://127.0.0.1/one"))
        notify: Any = lambda key, text, **options: notices.append(text)  # noqa: E731
        backend = NETWORK.make(NetworkContext(clock, config, clock.seconds, notify=notify))
        backend.connect(cast(BackendEvents, RecordedEvents()))
        sent = backend.send_message(Message("hello", to=backend.query_room("#one")))
        clock.advance(119)
        self.assertEqual([], notices)
        clock.advance(1)
        self.assertIn("no result within 120 s", notices[0])
        clock.pump([10] * 100)
        self.assertEqual(1, len(jobs))
        jobs[0].errback(ConnectionError("at last"))
        clock.pump([10] * 90)
        self.assertEqual(2, len(jobs))
        jobs[1].callback(None)
        clock.advance(0)
        self.assertEqual(str(sent), self.successResultOf(cast(Any, sent)))


class _WatchedBackend(AppriseBackend if not WITHOUT_LIBRARY else object):  # type: ignore[misc]
    def watch(self, _: Any) -> None:
        """Do nothing: the test reads what the service has got."""


class WholeBotTests(AppriseCase):
    """A bot on the Test network and on Apprise."""

    def setUp(self) -> None:
        super().setUp()
        from errklein import wiring

        make_backend = wiring.make_backend

        def make(reactor: Any, view: Any, **services: Any) -> Any:
            if view.BACKEND != "Apprise":
                return make_backend(reactor, view, **services)
            return _WatchedBackend(NetworkContext(reactor, view, **services))

        apprise = {
            "BACKEND": "Apprise",
            "BOT_IDENTITY": identity(one=self.service.url(f"/one/{TOKEN}")),
            "BOT_ADMINS_NOTIFICATIONS": ("#one",),
        }
        self.reactor: Any = TestReactor()
        with mock.patch("errklein.wiring.make_backend", make):
            networks = {"console": {"BOT_ADMINS": ("@admin",)}, "push": apprise}
            os.environ["BUILDS_SECRET"] = "a-token-of-the-configuration"
            webhook = {
                "source": "json",
                "room": "push:#one",
                "secret": "env:BUILDS_SECRET",
                "text": "build {number} has *failed*",
            }
            settings = {"WEBHOOKS": {"builds": webhook}}
            self.bot = TestBot(networks=networks, reactor=self.reactor, config=settings)
        self.bot.start()
        self.addCleanup(self.bot.stop)

    def test_no_warning(self) -> None:
        """A webhook may name a target that isn't in CHATROOM_PRESENCE, since the bot joins none."""
        self.assertNotIn("CHATROOM_PRESENCE", self.bot.report())

    def test_notices(self) -> None:
        """Administrators' notices go to the target of BOT_ADMINS_NOTIFICATIONS."""
        self.bot.bot.warn_admins("the disk is full")
        self.reactor.advance(1)
        self.assertIn("the disk is full", self.received("one"))

    def test_webhook_of_a_room(self) -> None:
        """The message of a webhook of a room is sent to the target."""
        response = self.bot.post("/hooks/builds/a-token-of-the-configuration", {"number": 7})
        self.reactor.advance(1)
        self.assertEqual(202, self.successResultOf(response).status)
        self.reactor.advance(1)
        self.assertEqual(["build 7 has *failed*"], self.received("one"))
