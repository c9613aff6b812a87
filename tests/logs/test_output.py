"""The log: one event, one line, nothing in it that could fool a reader or a terminal."""

from __future__ import annotations

import io
import json
import logging
import os
import sys
from contextvars import copy_context
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import (
    FileLogObserver,
    Logger,
    LogLevel,
    globalLogPublisher,
    jsonFileLogObserver,
    textFileLogObserver,
)
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from errklein import logs
from errklein.logs import Destinations, LevelFilter, bridge_stdlib, escape, format_line
from errklein.logs import _output as output
from errklein.running.context import request_id
from errklein.text.masking import masker


class LogCase(SynchronousTestCase):
    """Reads what is logged."""

    def setUp(self) -> None:
        """Log to memory."""
        self.out = io.StringIO()
        self.observer = FileLogObserver(self.out, format_line)
        self.logger = Logger(namespace="errklein.web", observer=self.observer)

    @property
    def lines(self) -> list[str]:
        """What stands in the log."""
        return self.out.getvalue().splitlines()


class Lines(LogCase):
    """What a line looks like."""

    def test_line(self) -> None:
        """A line has its time, who said it, how grave it is, and the text."""
        self.logger.warn("{count} requests", count=3)
        [line] = self.lines
        self.assertRegex(line, r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4} \[errklein\.web#warn\] 3 requests$")

    def test_log_lines_cannot_be_forged(self) -> None:
        """Line ends, escape sequences and turned writing that a stranger sends stay on the line, readable."""
        self.logger.info("user agent: {agent}", agent="x\r\n2026-01-01 [bot] admin\x1b[2J\u2028\u202egnp.\x9b")
        self.assertEqual(len(self.out.getvalue().split("\n")), 2)
        [line] = self.out.getvalue().splitlines()
        self.assertTrue(line.endswith(r"x\r\n2026-01-01 [bot] admin\x1b[2J\u2028\u202egnp.\x9b"))

    def test_namespace_is_escaped_too(self) -> None:
        """A plugin's logger may have any name."""
        Logger(namespace="a\nb", observer=self.observer).info("hello")
        self.assertEqual(len(self.lines), 1)

    def test_traceback_is_indented(self) -> None:
        """A failure has its traceback below the line, indented, so that no line of it passes for another event."""
        try:
            raise ValueError("bad\n2026-01-01T00:00:00+0000 [x] forged \x1b")
        except ValueError:
            self.logger.failure("{hook} failed", Failure(), hook="Github.notify")
        first, *rest = self.lines
        self.assertTrue(first.endswith("[errklein.web#critical] Github.notify failed"))
        self.assertIn("ValueError", "".join(rest))
        self.assertEqual([line for line in rest if not line.startswith("\t")], [])
        self.assertNotIn("\x1b", self.out.getvalue())

    def test_secrets_are_masked(self) -> None:
        """Secrets of the configuration and passwords in URLs aren't in the log, nor in tracebacks, also escaped ones."""
        secret = "hunter2\nhunter3"
        masker.learn(self, "test", {secret})
        self.addCleanup(masker.learn, self, "test", ())
        self.logger.info("no login with {config} at {url}", config={"a": secret}, url="https://me:pw@db/?token=abc")
        self.assertTrue(self.lines[0].endswith("no login with {'a': '•••'} at https://•••@db/?token=•••"))
        try:
            try:
                raise RuntimeError("at https://me:pw@db")
            except RuntimeError as error:
                raise ValueError(secret, str([secret])) from error
        except ValueError:
            self.logger.failure("failed for {config}", config={"password": secret})
        written = self.out.getvalue()
        self.assertIn("ValueError: ('•••'", written)
        self.assertNotIn("hunter3'", written)

    def test_request_id(self) -> None:
        """What is logged while a request is handled carries its id, and nothing else does."""
        context = copy_context()
        context.run(request_id.set, "r-17")
        context.run(self.logger.info, "inside")
        self.logger.info("outside")
        inside, outside = self.lines
        self.assertIn("(r-17) inside", inside)
        self.assertTrue(outside.endswith("] outside"))

    def test_unformattable(self) -> None:
        """A message that can't be formatted is still a line."""
        self.logger.info("{missing.attribute}")
        self.assertEqual(len(self.lines), 1)

    @given(st.text())
    def test_escape(self, text: str) -> None:
        """Escaped text is one line of printable characters, and harmless text is left alone."""
        escaped = escape(text)
        self.assertEqual(escaped.splitlines(), [escaped] if escaped else [])
        self.assertEqual(escape(escaped), escaped)
        if text.isascii() and text.isprintable():
            self.assertEqual(escaped, text)


class Terminal(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        return True


class Colors(SynchronousTestCase):
    """TEXT_COLOR_THEME."""

    def setUp(self) -> None:
        """A terminal that shows colours."""
        self.patch(os, "environ", {"TERM": "xterm"})

    def written(self, theme: str, stream: io.StringIO) -> str:
        """What a warning looks like there."""
        destinations = Destinations()
        destinations.theme = theme
        Logger(namespace="x", observer=destinations.writer(stream)).warn("careful\x1b")
        return stream.getvalue()

    def test_themes(self) -> None:
        """Light letters or dark ones by how grave it is, or none with any other word; the text is as ever."""
        self.assertRegex(self.written("light", Terminal()), r" \x1b\[93m\[x#warn\]\x1b\[m careful\\x1b\n$")
        self.assertIn(" \x1b[33m[x#warn]\x1b[m ", self.written("dark", Terminal()))
        self.assertIn(" [x#warn] careful", self.written("nocolor", Terminal()))

    def test_only_on_terminals(self) -> None:
        """Files have none, nor terminals that know none, nor if somebody doesn't want any."""
        self.assertIn(" [x#warn] ", self.written("light", io.StringIO()))
        for variable in ({"TERM": "dumb"}, {"NO_COLOR": "1"}):
            self.patch(os, "environ", variable)
            self.assertIn(" [x#warn] ", self.written("light", Terminal()))

    def test_formatter(self) -> None:
        """A format of one's own goes first."""
        destinations = Destinations()
        destinations.theme, destinations.format = "light", lambda event: "mine\n"
        stream = Terminal()
        Logger(namespace="x", observer=destinations.writer(stream)).warn("careful")
        self.assertEqual(stream.getvalue(), "mine\n")


class Levels(LogCase):
    """BOT_LOG_LEVEL."""

    def test_filter(self) -> None:
        """Events below the level are left out."""
        log = Logger(namespace="x", observer=LevelFilter([self.observer], logging.WARNING))
        log.info("quiet")
        log.warn("loud")
        log.critical("louder")
        self.assertEqual([line.rpartition("] ")[2] for line in self.lines], ["loud", "louder"])


class StdlibLogging(LogCase):
    """What plugins say to the standard library's loggers."""

    def setUp(self) -> None:
        """Install the bridge for the time of the test."""
        super().setUp()
        root = logging.getLogger()
        before, level = list(root.handlers), root.level
        self.addCleanup(root.setLevel, level)
        self.addCleanup(setattr, root, "handlers", before)
        globalLogPublisher.addObserver(self.observer)
        self.addCleanup(globalLogPublisher.removeObserver, self.observer)
        bridge_stdlib(logging.INFO)
        bridge_stdlib(logging.INFO)
        self.log = logging.getLogger("errbot.plugins.Github")

    def test_bridge(self) -> None:
        """A plugin's line comes once, with its level and the plugin's name."""
        self.log.warning("%d pushes {braces}", 2)
        self.log.debug("not asked for")
        [line] = self.lines
        self.assertTrue(line.endswith("[errbot.plugins.Github#warn] 2 pushes {braces}"))

    def test_exception(self) -> None:
        """log.exception brings its traceback."""
        try:
            raise KeyError("x")
        except KeyError:
            self.log.exception("oops")
        self.flushLoggedErrors(KeyError)
        self.assertTrue(self.lines[0].endswith("[errbot.plugins.Github#error] oops"))
        self.assertIn("KeyError", self.out.getvalue())

    def test_wrong_arguments(self) -> None:
        """A message whose arguments don't fit is logged as it is, and raises nothing."""
        self.log.info("%d", "x")
        self.assertIn("%d", self.lines[0])


class Files(SynchronousTestCase):
    """Log files."""

    def setUp(self) -> None:
        """Log to a file of the test's own."""
        self.path = Path(self.mktemp())
        self.destinations = Destinations()
        self.destinations.places = [str(self.path)]
        self.destinations.rotated = False
        self.log = Logger(namespace="x", observer=self.destinations.observer())

    def test_reopen(self) -> None:
        """After a rotation the log goes on in a new file of the old name."""
        self.log.info("one")
        rotated = self.path.rename(self.path.with_suffix(".1"))
        self.log.info("two")
        self.destinations.reopen()
        self.log.info("three")
        self.assertIn("two", rotated.read_text())
        self.assertEqual([line.rpartition(" ")[2] for line in self.path.read_text().splitlines()], ["three"])

    def test_mode(self) -> None:
        """A new log file is for its owner alone whatever the umask, also after logrotate has moved the one before."""
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o600)
        self.addCleanup(os.umask, os.umask(0o027))
        for umask in (0o027, 0o000, 0o177):
            os.umask(umask)
            self.path.unlink()
            self.destinations.reopen()
            self.log.info("secret")
            self.assertEqual(self.path.stat().st_mode & 0o777, 0o600)

    def test_mode_after_rotation(self) -> None:
        """The file that begins when the one before has grown large is for its owner alone, whatever the other's mode."""
        self.path.chmod(0o644)
        file = output.PrivateLogFile(self.path.name, str(self.path.parent.absolute()), rotateLength=10)
        self.addCleanup(file.close)
        file.write("one long line\n")
        file.write("another\n")
        rotated = self.path.with_name(f"{self.path.name}.1")
        self.assertEqual(rotated.read_text(), "one long line\n")
        self.assertEqual((rotated.stat().st_mode & 0o777, self.path.stat().st_mode & 0o777), (0o644, 0o600))

    def test_mode_of_an_existing_file(self) -> None:
        """A file that an operator or logrotate has made keeps its mode."""
        for mode in (0o640, 0o644):
            self.path.chmod(mode)
            self.destinations.reopen()
            self.log.info("one")
            self.destinations.observer()
            self.assertEqual(self.path.stat().st_mode & 0o777, mode)

    def test_file_that_cannot_be_reopened(self) -> None:
        """If there can be no new file, the old one goes on."""
        moved = self.path.rename(Path(self.mktemp()))
        self.path.mkdir()
        self.destinations.reopen()
        self.log.info("still here")
        self.assertIn("still here", moved.read_text())

    def test_level_of_the_file(self) -> None:
        """BOT_LOG_LEVEL holds for files."""
        self.log.debug("quiet")
        self.assertEqual(self.path.read_text(), "")


class Twist(SynchronousTestCase):
    """`twist` opens its log itself, out of its options."""

    def setUp(self) -> None:
        """Choose anew where the log goes."""
        self.chosen = Destinations()
        self.patch(output, "destinations", self.chosen)

    def test_conversation_is_left_alone(self) -> None:
        """With a conversation on standard output, twist's log goes elsewhere."""
        self.chosen.places = ["+"]
        launcher: dict[str, Any] = {"logFile": sys.stdout, "fileLogObserverFactory": textFileLogObserver}
        logs.use_with_twist(launcher)
        self.assertIs(launcher["logFile"], sys.stderr)
        out = io.StringIO()
        launcher["fileLogObserverFactory"](out)({"log_format": "a\nb", "log_level": LogLevel.info})
        self.assertTrue(out.getvalue().endswith("a\\nb\n"))

    def test_user_is_obeyed(self) -> None:
        """A file that the user has chosen stays."""
        self.chosen.places = ["+"]
        file = io.StringIO()
        launcher: dict[str, Any] = {"logFile": file, "fileLogObserverFactory": None}
        logs.use_with_twist(launcher)
        self.assertEqual(launcher, {"logFile": file, "fileLogObserverFactory": None})

    def test_json(self) -> None:
        """The JSON that twist writes when nobody watches has no secrets, and stays JSON."""
        masker.learn(self, "test", {'hunt"er2'})
        self.addCleanup(masker.learn, self, "test", ())
        launcher: dict[str, Any] = {"logFile": io.StringIO(), "fileLogObserverFactory": jsonFileLogObserver}
        logs.use_with_twist(launcher)
        log = Logger("x", observer=launcher["fileLogObserverFactory"](launcher["logFile"]))
        log.info("no login with {password}", password='hunt"er2')
        written = launcher["logFile"].getvalue()
        self.assertEqual(json.loads(written.strip("\x1e\n"))["password"], "•••")
