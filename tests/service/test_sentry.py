"""BOT_LOG_SENTRY: log events are sent to Sentry without secrets. The tests use no network."""

from __future__ import annotations

import logging
import sys
from contextvars import copy_context
from importlib import metadata
from importlib.util import find_spec
from types import ModuleType
from typing import Any, ClassVar

from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from errklein.config import Config, ConfigError, load_config
from errklein.running.context import request_id
from errklein.service import startup_checks
from errklein.service.startup_checks import check_sentry, start_sentry
from errklein.text.masking import MASK, masker

DSN = "https://public@sentry.example.org/1"
INSTALLED = find_spec("sentry_sdk") is not None

if INSTALLED:
    import sentry_sdk
    from sentry_sdk.transport import Transport

    class Kept(Transport):
        """A transport that keeps the events."""

        events: ClassVar[list[Any]] = []

        def capture_envelope(self, envelope: Any) -> None:
            """Keep the event."""
            event = envelope.get_event()
            if event is not None:
                self.events.append(event)


class SentryCase(SynchronousTestCase):
    """A test case with a configuration for Sentry."""

    def config(self, **settings: Any) -> Config:
        """Return a configuration that reports to Sentry."""
        usual = {"BACKEND": "Null", "BOT_LOG_SENTRY": True, "SENTRY_DSN": DSN}
        return load_config(None, {**usual, **settings})

    def refusal(self, **settings: Any) -> str:
        """Return the error about these settings."""
        with self.assertRaises(ConfigError) as raised:
            check_sentry(self.config(**settings))
        self.assertNotIn("\n", str(raised.exception))
        return str(raised.exception)


class WithoutSentryTests(SentryCase):
    """An environment without sentry_sdk."""

    def test_not_asked_for(self) -> None:
        """Without BOT_LOG_SENTRY, sentry_sdk isn't imported."""
        self.patch(startup_checks, "find_spec", lambda name: None)
        start_sentry(self.config(BOT_LOG_SENTRY=False))()

    def test_not_installed(self) -> None:
        """The error names the command that installs sentry_sdk."""
        self.patch(startup_checks, "find_spec", lambda name: None)
        self.assertEqual(
            self.refusal(),
            "BOT_LOG_SENTRY requires sentry_sdk, which isn't installed; run `pip install sentry-sdk`",
        )


class MistakesTests(SentryCase):
    """Errors before the bot starts."""

    if not INSTALLED:
        skip = "sentry_sdk isn't installed"

    def test_no_address(self) -> None:
        """A DSN is required, in SENTRY_DSN or SENTRY_OPTIONS."""
        self.assertIn("SENTRY_DSN is missing", self.refusal(SENTRY_DSN=""))
        check_sentry(self.config(SENTRY_DSN="", SENTRY_OPTIONS={"dsn": DSN}))

    def test_no_such_address(self) -> None:
        """The error about an invalid DSN doesn't show it, since it contains a key."""
        line = self.refusal(SENTRY_DSN="hunter2 here")
        self.assertIn("SENTRY_DSN is invalid; expected a URL such as", line)
        self.assertNotIn("hunter2", line)

    def test_no_such_transport(self) -> None:
        """A transport that can't be imported, or is no class, is an error that names the setting and what is expected."""
        self.assertIn("no_such_module", self.refusal(SENTRY_TRANSPORT=("Nowhere", "no_such_module")))
        for invalid in (("Nowhere", "sentry_sdk.transport"), ("A",), "A", ("A", ""), ("A", 1), 7):
            line = self.refusal(SENTRY_TRANSPORT=invalid)
            self.assertIn("SENTRY_TRANSPORT: ", line)
            self.assertIn("expected a class of sentry_sdk.transport, or the pair of its name and its module", line)

    def test_options(self) -> None:
        """An unknown option of sentry_sdk is an error."""
        with self.assertRaises(ConfigError) as raised:
            start_sentry(self.config(SENTRY_OPTIONS={"no_such_option": 1}))
        self.assertIn("SENTRY_OPTIONS is invalid; sentry_sdk.init raised TypeError", str(raised.exception))
        self.assertIn("no_such_option", str(raised.exception))


class SentTests(SentryCase):
    """The events that Sentry receives."""

    if not INSTALLED:
        skip = "sentry_sdk isn't installed"

    def setUp(self) -> None:
        """Keep the events, and remove the client after the test."""
        self.log = Logger("errklein.web")
        self.sent = Kept.events
        self.sent.clear()
        self.addCleanup(sentry_sdk.get_global_scope().set_client, None)
        self.addCleanup(lambda: sentry_sdk.get_isolation_scope().clear())

    def begin(self, **settings: Any) -> None:
        """Start Sentry for the duration of the test."""
        self.addCleanup(start_sentry(self.config(SENTRY_OPTIONS={"transport": Kept}, **settings)))

    def test_failure(self) -> None:
        """A failure is sent with its traceback, its logger and the preceding log lines."""
        self.begin()
        self.log.debug("too quiet")
        self.log.warn("{n} pushes", n=2)
        try:
            raise KeyError("x")
        except KeyError:
            self.log.failure("oops")
        self.flushLoggedErrors(KeyError)
        [event] = self.sent
        self.assertEqual(event["logger"], "errklein.web")
        self.assertEqual(event["exception"]["values"][-1]["type"], "KeyError")
        self.assertEqual([crumb["message"] for crumb in event["breadcrumbs"]["values"]], ["2 pushes"])
        [frame] = event["exception"]["values"][-1]["stacktrace"]["frames"]
        self.assertNotIn("vars", frame)

    def test_levels(self) -> None:
        """SENTRY_EVENTLEVEL is the lowest level that is sent, independent of BOT_LOG_LEVEL."""
        self.begin(SENTRY_EVENTLEVEL=logging.WARNING, SENTRY_LOGLEVEL="ERROR", BOT_LOG_LEVEL=logging.CRITICAL)
        self.log.info("info")
        self.log.warn("warning")
        self.assertEqual([event["logentry"]["message"] for event in self.sent], ["warning"])
        self.assertEqual(list(self.sent[0]["extra"]), ["sys.argv"])
        self.assertEqual(self.sent[0]["breadcrumbs"]["values"], [])

    def test_request(self) -> None:
        """An error in a request is sent with the request's id."""
        self.begin()
        context = copy_context()
        context.run(request_id.set, "r-17")
        context.run(self.log.error, "inside")
        self.log.error("outside")
        inside, outside = self.sent
        self.assertEqual(inside["tags"]["request_id"], "r-17")
        self.assertNotIn("request_id", outside.get("tags", {}))

    def test_stopped(self) -> None:
        """After the stop nothing is sent."""
        start_sentry(self.config(SENTRY_OPTIONS={"transport": Kept}))()
        self.log.error("after")
        self.assertEqual(self.sent, [])

    def test_secrets(self) -> None:
        """Passwords of the configuration are masked in all parts of an event, before the operator's before_send is called."""
        seen = []

        def before_send(event: Any, hint: Any) -> Any:
            seen.append(event["logentry"]["message"])
            return event

        options = {"transport": Kept, "before_send": before_send}
        config = self.config(BOT_IDENTITY={"nickname": "err", "password": "hunter2"}, SENTRY_OPTIONS=options)
        self.addCleanup(start_sentry(config))
        self.log.info("err says hunter2")
        self.log.error("refused: hunter2!")
        [event] = self.sent
        self.assertNotIn("hunter2", repr(event))
        self.assertEqual(seen, [f"refused: {MASK}!"])
        self.assertEqual(event["breadcrumbs"]["values"][0]["message"], f"err says {MASK}")

    def test_secrets_of_plugins(self) -> None:
        """Secrets that become known after the start, such as those of plugins' configurations, are masked, too."""
        self.begin()
        masker.learn(self, "a plugin", {"hunter22"})
        self.addCleanup(masker.learn, self, "a plugin", ())
        try:
            raise ValueError("{'TOKEN': 'hunter" + "22'}")
        except ValueError:
            self.log.failure("no login with hunter22")
        self.flushLoggedErrors(ValueError)
        [event] = self.sent
        self.assertNotIn("hunter22", repr(event))
        self.assertIn(MASK, event["exception"]["values"][-1]["value"])

    def test_fields_with_secret_names(self) -> None:
        """The values of a record's fields with secret names are masked, though nobody knows them."""
        self.begin()
        record = {"gitlab_token": "hunter" + "22", "upload": {"X-Api-Token": ["hunter" + "22"]}, "project": "errklein"}
        with sentry_sdk.new_scope() as scope:
            for name, value in record.items():
                scope.set_extra(name, value)
            self.log.error("no login")
        [event] = self.sent
        self.assertEqual(event["extra"]["gitlab_token"], MASK)
        self.assertEqual(event["extra"]["upload"], {"X-Api-Token": [MASK]})
        self.assertEqual(event["extra"]["project"], "errklein")

    def test_transport_of_old(self) -> None:
        """SENTRY_TRANSPORT may be a class, or the pair of its name and its module."""
        module = ModuleType("transport_of_a_test")
        vars(module)["Kept"] = Kept
        self.patch(sys, "modules", {**sys.modules, module.__name__: module})
        for given_ in (Kept, ("Kept", module.__name__)):
            self.sent.clear()
            stop = start_sentry(self.config(SENTRY_TRANSPORT=given_))
            self.log.error("sent")
            stop()
            self.assertEqual(len(self.sent), 1)

    def test_flask(self) -> None:
        """BOT_LOG_SENTRY_FLASK enables Sentry's integration for Flask, if Flask is installed."""
        self.begin(BOT_LOG_SENTRY_FLASK=True)
        there = sentry_sdk.get_client().get_integration("flask")
        self.assertEqual(there is not None, bool(list(metadata.distributions(name="flask"))))
