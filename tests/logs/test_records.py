"""BOT_LOG_FORMATTER: log lines in the format of a standard library formatter."""

from __future__ import annotations

import io
import json
import logging
from contextvars import copy_context
from typing import Any

from twisted.logger import FileLogObserver, Logger, LogLevel, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from errklein.logs import LONGEST, Bridge, FormattedByLogging
from errklein.running.context import request_id
from errklein.text.masking import masker


class FormattedTests(SynchronousTestCase):
    """The lines of the log."""

    def written(self, format_: str, say: Any, formatter: logging.Formatter | None = None) -> str:
        """Return the log after a call of `say` with a logger."""
        out = io.StringIO()
        say(
            Logger(
                "errklein.web",
                observer=FileLogObserver(out, FormattedByLogging(formatter or logging.Formatter(format_))),
            )
        )
        return out.getvalue()

    def test_fields(self) -> None:
        """The fields of the logging module have the event's values."""
        written = self.written("%(levelname)s:%(name)s:%(message)s", lambda log: log.warn("{n} of 100%", n=3))
        self.assertEqual(written, "WARNING:errklein.web:3 of 100%\n")

    def test_time(self) -> None:
        """The time is that of the event."""
        log = logging.Formatter("%(asctime)s", "%Y")
        event = {"log_time": 0.0, "log_format": "then"}
        self.assertIn(FormattedByLogging(log)(event), ("1970\n", "1969\n"))

    def test_formatters_that_misbehave(self) -> None:
        """A formatter may log a line itself; one that raises SystemExit doesn't end the program."""
        lines: list[str | None] = []

        class Chatty(logging.Formatter):
            def format(self, record: logging.LogRecord) -> str:
                lines.append(formatted({"log_format": "inner", "log_level": LogLevel.info}))
                return "outer"

        formatted = FormattedByLogging(Chatty())
        event = {"log_format": "x", "log_level": LogLevel.info}
        self.assertEqual(formatted(event), "outer\n")
        self.assertEqual(len(lines), 1)
        self.assertIn("inner", str(lines[0]))

        class Ends(logging.Formatter):
            def format(self, record: logging.LogRecord) -> str:
                raise SystemExit(3)

        self.assertIn("BOT_LOG_FORMATTER raised SystemExit(3)", str(FormattedByLogging(Ends())(event)))

    def test_request(self) -> None:
        """A format may contain the id of the request."""
        context = copy_context()
        context.run(request_id.set, "r-17")
        log = "%(request_id)s %(message)s"
        self.assertEqual(context.run(self.written, log, lambda log: log.info("x")), "r-17 x\n")
        self.assertEqual(self.written(log, lambda log: log.info("x")), "- x\n")

    def test_forged_lines(self) -> None:
        """Line ends in a text are escaped, in tracebacks, too."""

        def say(log: Logger) -> None:
            log.info("agent: {agent}", agent="x\nCRITICAL forged\x1b[2J")
            try:
                raise ValueError("bad\nCRITICAL forged \x1b")
            except ValueError:
                log.failure("failed")

        lines = self.written("%(levelname)s %(message)s", say).splitlines()
        self.assertEqual(lines[0], r"INFO agent: x\nCRITICAL forged\x1b[2J")
        self.assertEqual(lines[1], "CRITICAL failed")
        self.assertEqual([line for line in lines[2:] if not line.startswith("\t")], [])
        self.assertTrue(any("ValueError" in line for line in lines))
        self.assertNotIn("\x1b", "".join(lines))

    def test_forged_lines_in_exceptions(self) -> None:
        """The text of an exception that a plugin gives as an extra field is escaped."""
        out = io.StringIO()
        formatted = FileLogObserver(out, FormattedByLogging(logging.Formatter("%(message)s: %(error)s")))
        record = logging.makeLogRecord(
            {"msg": "failed", "levelno": logging.ERROR, "error": ValueError("x\n2026 forged \x1b[31m")}
        )
        Bridge(formatted).emit(record)
        self.assertEqual(out.getvalue(), "failed: x\\n2026 forged \\x1b[31m\n")

    def test_secrets_are_masked(self) -> None:
        """Secrets are masked in all fields of a record, and in the formatted exception."""
        masker.learn(self, "test", {"hunter2"})
        self.addCleanup(masker.learn, self, "test", ())

        class Own(logging.Formatter):
            def format(self, record: logging.LogRecord) -> str:
                assert record.exc_info is not None
                return f"{record.getMessage()} {record.exc_text} {record.exc_info[1]!r}"

        def say(log: Logger) -> None:
            try:
                raise ValueError("{'password': 'hunter" + "2'}")
            except ValueError:
                log.failure("no login with {password}", password="hunter2")

        written = self.written("", say, Own())
        self.assertIn("no login with •••", written)
        self.assertNotIn("hunter2", written)

    def test_long_text(self) -> None:
        """A text of 25 MB is cut, before it is masked."""
        written = self.written("%(message)s", lambda log: log.warn("{text}", text="a;token=" * 3_000_000))
        self.assertLess(len(written), LONGEST)
        self.assertIn("characters left out", written)

    def test_json(self) -> None:
        """A formatter for JSON writes JSON, also if a sender's text has the beginning of a secret."""

        class Json(logging.Formatter):
            def format(self, record: logging.LogRecord) -> str:
                return json.dumps({"message": record.getMessage(), "api_key": "abcdefgh", "level": record.levelname})

        for text in ("/x/token=", "'token': '", "Cookie: a=", "token=abcdefgh"):
            written = self.written("", lambda log, text=text: log.warn("{text}", text=text), Json())
            self.assertNotIn("abcdefgh", written)
            self.assertEqual(json.loads(written)["level"], "WARNING")

    def test_long_fields(self) -> None:
        """Long fields of a plugin's record are cut, too, before their control characters are escaped."""

        class Own(logging.Formatter):
            def format(self, record: logging.LogRecord) -> str:
                return f"{len(vars(record)['body'])}"

        record = logging.LogRecord("of.a.plugin", logging.INFO, "", 0, "received", None, None)
        vars(record)["body"] = "\x01" * 1_000_000
        out = io.StringIO()
        Bridge(FileLogObserver(out, FormattedByLogging(Own()))).emit(record)
        self.assertLess(int(out.getvalue()), 5 * LONGEST)

    def test_what_plugins_log(self) -> None:
        """A plugin's record keeps its location and its additional fields."""
        out = io.StringIO()
        format_ = "%(funcName)s %(filename)s %(room)s %(message)s"
        observer = FileLogObserver(out, FormattedByLogging(logging.Formatter(format_)))
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        log = logging.getLogger("of.a.plugin")
        bridge = Bridge()
        log.addHandler(bridge)
        self.addCleanup(log.removeHandler, bridge)
        log.propagate = False
        log.warning("%d pushes", 2, extra={"room": "#a\nb"})
        self.assertEqual(out.getvalue(), r"test_what_plugins_log test_records.py #a\nb 2 pushes" + "\n")

    def test_formatter_that_fails(self) -> None:
        """If the formatter fails, the event is logged in errklein's format, with the reason."""
        written = self.written("%(no_such_field)s", lambda log: log.info("hello"))
        self.assertIn("[errklein.web#info] hello (BOT_LOG_FORMATTER raised", written)
        self.assertEqual(len(written.splitlines()), 1)

    def test_nothing_to_say(self) -> None:
        """An event without a text isn't logged."""
        self.assertIsNone(FormattedByLogging(logging.Formatter())({"log_time": 0.0}))
