"""The log: one line for each event, without control characters and secrets."""

from __future__ import annotations

import io
import logging
import os
from contextvars import copy_context
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import (
    FileLogObserver,
    Logger,
    globalLogPublisher,
)
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from errklein import logs as output
from errklein.logs import LONGEST, Destinations, LevelFilter, bridge_stdlib, escape, format_line
from errklein.running.context import request_id
from errklein.text.masking import masker


class LogCase(SynchronousTestCase):
    """A test case that reads the log."""

    def setUp(self) -> None:
        """Log to memory."""
        self.out = io.StringIO()
        self.observer = FileLogObserver(self.out, format_line)
        self.logger = Logger(namespace="errklein.web", observer=self.observer)

    @property
    def lines(self) -> list[str]:
        """Return the text of the log."""
        return self.out.getvalue().splitlines()


class Lines(LogCase):
    """The format of a line."""

    def test_line(self) -> None:
        """A line has the time, the logger, the level and the text."""
        self.logger.warn("{count} requests", count=3)
        [line] = self.lines
        self.assertRegex(line, r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4} \[errklein\.web#warn\] 3 requests$")

    def test_log_lines_cannot_be_forged(self) -> None:
        """Line ends, escape sequences and direction marks in a text are escaped."""
        self.logger.info("user agent: {agent}", agent="x\r\n2026-01-01 [bot] admin\x1b[2J\u2028\u202egnp.\x9b")
        self.assertEqual(len(self.out.getvalue().split("\n")), 2)
        [line] = self.out.getvalue().splitlines()
        self.assertTrue(line.endswith(r"x\r\n2026-01-01 [bot] admin\x1b[2J\u2028\u202egnp.\x9b"))

    def test_long_texts(self) -> None:
        """A sender who decides the length of a text doesn't fill the log: its begin and its end are logged, with masked secrets."""
        text = "begin" + " text" * 20_000 + " token=abcdef123456 end"
        self.logger.warn("{text}", text=text)
        try:
            raise ValueError(text)
        except ValueError:
            self.logger.failure("failed")
        logged = self.out.getvalue()
        self.assertLess(len(logged), 2 * LONGEST + 2000)
        for part in ("begin text", "characters left out", " end", "ValueError: begin"):
            self.assertIn(part, logged)
        self.assertNotIn("abcdef123456", logged)

    def test_namespace_is_escaped_too(self) -> None:
        """A plugin's logger may have any name."""
        Logger(namespace="a\nb", observer=self.observer).info("hello")
        self.assertEqual(len(self.lines), 1)

    def test_traceback_is_indented(self) -> None:
        """The lines of a traceback are indented, so that none looks like another event."""
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
        """Secrets of the configuration and passwords in URLs are masked, in lines and tracebacks, also if they are escaped."""
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
        """Lines logged during a request have its id; others have none."""
        context = copy_context()
        context.run(request_id.set, "r-17")
        context.run(self.logger.info, "inside")
        self.logger.info("outside")
        inside, outside = self.lines
        self.assertIn("(r-17) inside", inside)
        self.assertTrue(outside.endswith("] outside"))

    def test_unformattable(self) -> None:
        """An event that can't be formatted is logged as a line."""
        self.logger.info("{missing.attribute}")
        self.assertEqual(len(self.lines), 1)

    @given(st.text())
    def test_escape(self, text: str) -> None:
        """Escaped text is one line of printable characters; printable text isn't changed."""
        escaped = escape(text)
        self.assertEqual(escaped.splitlines(), [escaped] if escaped else [])
        self.assertEqual(escape(escaped), escaped)
        if text.isascii() and text.isprintable():
            self.assertEqual(escaped, text)


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        return True


class Colors(SynchronousTestCase):
    """Colours by TEXT_COLOR_THEME."""

    def setUp(self) -> None:
        """Simulate a terminal with colours."""
        self.patch(os, "environ", {"TERM": "xterm"})

    def written(self, theme: str, stream: io.StringIO) -> str:
        """Return a warning as it is logged on that stream."""
        destinations = Destinations()
        destinations.theme = theme
        Logger(namespace="x", observer=destinations.writer(stream)).warn("careful\x1b")
        return stream.getvalue()

    def test_themes(self) -> None:
        """The theme selects light, dark or no colours of the level; the text isn't coloured."""
        self.assertRegex(self.written("light", Terminal()), r" \x1b\[93m\[x#warn\]\x1b\[m careful\\x1b\n$")
        self.assertIn(" \x1b[33m[x#warn]\x1b[m ", self.written("dark", Terminal()))
        self.assertIn(" [x#warn] careful", self.written("nocolor", Terminal()))

    def test_only_on_terminals(self) -> None:
        """There are no colours in files, on terminals without colours, and with NO_COLOR."""
        self.assertIn(" [x#warn] ", self.written("light", io.StringIO()))
        for variable in ({"TERM": "dumb"}, {"NO_COLOR": "1"}):
            self.patch(os, "environ", variable)
            self.assertIn(" [x#warn] ", self.written("light", Terminal()))

    def test_formatter(self) -> None:
        """A formatter of the operator replaces the colours."""
        destinations = Destinations()
        destinations.theme, destinations.formatter = "light", logging.Formatter("mine: %(message)s")
        stream = Terminal()
        Logger(namespace="x", observer=destinations.writer(stream)).warn("careful")
        self.assertEqual(stream.getvalue(), "mine: careful\n")


class Levels(LogCase):
    """Filtering by BOT_LOG_LEVEL."""

    def test_filter(self) -> None:
        """Events below the level aren't logged."""
        log = Logger(namespace="x", observer=LevelFilter([self.observer], logging.WARNING))
        log.info("quiet")
        log.warn("loud")
        log.critical("louder")
        self.assertEqual([line.rpartition("] ")[2] for line in self.lines], ["loud", "louder"])

    def test_other_level(self) -> None:
        """An open log changes its level, also that of the standard library's records."""
        root = logging.getLogger()
        self.addCleanup(setattr, root, "handlers", list(root.handlers))
        self.addCleanup(root.setLevel, root.level)
        bridge_stdlib(logging.INFO)
        path, destinations = Path(self.mktemp()), Destinations()
        destinations.outputs = [str(path)]
        log = Logger(namespace="x", observer=destinations.observer())
        log.debug("quiet")
        destinations.use_level(logging.DEBUG)
        log.debug("now loud")
        self.assertEqual([line.rpartition("] ")[2] for line in path.read_text().splitlines()], ["now loud"])
        self.assertTrue(logging.getLogger("errbot.plugins.X").isEnabledFor(logging.DEBUG))


class StdlibLogging(LogCase):
    """Records of the standard library's loggers, which plugins use."""

    def setUp(self) -> None:
        """Install the bridge for the duration of the test."""
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
        """A plugin's record is logged once, with its level and the plugin's name."""
        self.log.warning("%d pushes {braces}", 2)
        self.log.debug("not asked for")
        [line] = self.lines
        self.assertTrue(line.endswith("[errbot.plugins.Github#warn] 2 pushes {braces}"))

    def test_exception(self) -> None:
        """log.exception logs the traceback."""
        try:
            raise KeyError("x")
        except KeyError:
            self.log.exception("oops")
        self.flushLoggedErrors(KeyError)
        self.assertTrue(self.lines[0].endswith("[errbot.plugins.Github#error] oops"))
        self.assertIn("KeyError", self.out.getvalue())

    def test_wrong_arguments(self) -> None:
        """A record whose arguments don't fit its format is logged without an exception."""
        self.log.info("%d", "x")
        self.assertIn("%d", self.lines[0])


class Files(SynchronousTestCase):
    """Log files."""

    def setUp(self) -> None:
        """Log to a file in the test's directory."""
        self.path = Path(self.mktemp())
        self.destinations = Destinations()
        self.destinations.outputs = [str(self.path)]
        self.destinations.rotated = False
        self.log = Logger(namespace="x", observer=self.destinations.observer())

    def test_reopen(self) -> None:
        """After a rotation and SIGHUP, the log continues in a new file of the same name."""
        self.log.info("one")
        rotated = self.path.rename(self.path.with_suffix(".1"))
        self.log.info("two")
        self.destinations.reopen()
        self.log.info("three")
        self.assertIn("two", rotated.read_text())
        self.assertEqual([line.rpartition(" ")[2] for line in self.path.read_text().splitlines()], ["three"])

    def test_truncated_file(self) -> None:
        """After a rotation that copies and truncates the file, lines begin at its beginning."""
        self.log.info("one")
        os.truncate(self.path, 0)
        self.log.info("two")
        self.assertRegex(self.path.read_text(), r"^2.* two\n$")

    def test_mode(self) -> None:
        """A new log file has mode 0600 whatever the umask, also after a rotation."""
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o600)
        self.addCleanup(os.umask, os.umask(0o027))
        for umask in (0o027, 0o000, 0o177):
            os.umask(umask)
            self.path.unlink()
            self.destinations.reopen()
            self.log.info("secret")
            self.assertEqual(self.path.stat().st_mode & 0o777, 0o600)

    def test_mode_after_rotation(self) -> None:
        """The file that replaces a large one has mode 0600, whatever the mode of the previous one."""
        self.path.chmod(0o644)
        file = output.PrivateLogFile(self.path.name, str(self.path.parent.absolute()), rotateLength=10)
        self.addCleanup(file.close)
        file.write("one long line\n")
        file.write("another\n")
        rotated = self.path.with_name(f"{self.path.name}.1")
        self.assertEqual(rotated.read_text(), "one long line\n")
        self.assertEqual((rotated.stat().st_mode & 0o777, self.path.stat().st_mode & 0o777), (0o644, 0o600))

    def test_mode_of_an_existing_file(self) -> None:
        """An existing file keeps its mode."""
        for mode in (0o640, 0o644):
            self.path.chmod(mode)
            self.destinations.reopen()
            self.log.info("one")
            self.destinations.observer()
            self.assertEqual(self.path.stat().st_mode & 0o777, mode)

    def test_file_that_cannot_be_reopened(self) -> None:
        """If a file can't be reopened, the log continues in the previous one."""
        moved = self.path.rename(Path(self.mktemp()))
        self.path.mkdir()
        self.destinations.reopen()
        self.log.info("still here")
        self.assertIn("still here", moved.read_text())

    def test_level_of_the_file(self) -> None:
        """BOT_LOG_LEVEL applies to files."""
        self.log.debug("quiet")
        self.assertEqual(self.path.read_text(), "")
