"""The benchmarks' servers start and respond, and their reports are correct; the figures are measured by hand."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.processes import ROOT, run
from tests.server_program import require_program


class WebhooksTests(SynchronousTestCase):
    """The comparison of webhooks."""

    timeout = 60

    def test_contenders_respond(self) -> None:
        """errklein and the servers that it is compared with start, and decode and respond."""
        script = str(ROOT / "benchmarks" / "webhooks.py")
        names = "errklein,Klein,twisted.web"
        ended = run([sys.executable, script], "--contenders", names, "--rounds", "0", cwd=Path.cwd())
        self.assertIn("4 contenders respond", ended.stdout, ended.stderr)


class IRCTests(SynchronousTestCase):
    """The comparison on IRC."""

    timeout = 60

    def test_commands_on_irc(self) -> None:
        """People in rooms get their replies, each once and in order."""
        require_program("ngircd")
        script = str(ROOT / "benchmarks" / "irc.py")
        few = ("--contenders", "errklein", "--users", "6", "--rooms", "2", "--rate", "20", "--seconds", "1")
        ended = run([sys.executable, script], *few, cwd=Path.cwd())
        self.assertRegex(ended.stdout, r"lost, twice or disordered +0\.00 +≤ 0 +met", ended.stderr)


class JournalTests(SynchronousTestCase):
    """The measurements of the journal."""

    timeout = 60

    def test_measurements(self) -> None:
        """All measurements end, with few deliveries."""
        script = str(ROOT / "benchmarks" / "journal.py")
        ended = run([sys.executable, script], "--rows", "2000", "--deliveries", "1000", cwd=Path.cwd())
        for text in (
            "slowest page ",
            "removed in ",
            " MB after 1,000 deliveries",
            " per second",
        ):
            self.assertIn(text, ended.stdout, ended.stderr)


class ConsoleTests(SynchronousTestCase):
    """The measurements of the console."""

    timeout = 60

    def test_pages_and_streams(self) -> None:
        """Each page responds while deliveries arrive, and browsers follow pages."""
        ended = run([sys.executable, str(ROOT / "benchmarks" / "console.py")], "--check", cwd=Path.cwd(), limit=55)
        self.assertIn("all requests have succeeded", ended.stdout, ended.stderr)
        self.assertIn("browsers on 100 pages", ended.stdout)


class MistakesTests(SynchronousTestCase):
    """Mistakes that are corrected by their error messages."""

    timeout = 300

    def test_messages_lead_to_the_remedy(self) -> None:
        """At least 90 of 100 mistakes are corrected by what the message says."""
        ended = run([sys.executable, str(ROOT / "long_tests" / "mistakes.py")], "--check", cwd=Path.cwd(), limit=300)
        self.assertEqual(ended.returncode, 0, ended.stdout + ended.stderr)


class FuzzingTests(SynchronousTestCase):
    """Generated requests to a bot."""

    timeout = 60

    def test_a_seed_repeats_an_exchange(self) -> None:
        """The exchange of a seed is repeated with a new bot."""
        script = str(ROOT / "long_tests" / "fuzz_http.py")
        ended = run([sys.executable, script], "--seed", "2", cwd=Path.cwd())
        self.assertIn("HTTP/1.1 400 Bad Request", ended.stdout, ended.stderr)
        self.assertIn("all expectations are met", ended.stdout)

    def test_malformed_requests_of_verified_webhooks(self) -> None:
        """Generated malformed requests get 4xx, and forged ones don't reach a handler."""
        ended = run([sys.executable, str(ROOT / "long_tests" / "fuzz_intake.py")], "--check", cwd=Path.cwd(), limit=55)
        self.assertIn("3,000 requests", ended.stdout, ended.stderr)
        self.assertIn(" 0 failed expectations", ended.stdout)


class IntakeTests(SynchronousTestCase):
    """Webhooks that are acknowledged before their handlers run."""

    timeout = 180

    def test_killed_bots_run_what_they_acknowledged(self) -> None:
        """A bot that is killed and started again runs each delivery that got 202, and none again that was recorded as done."""
        script = str(ROOT / "benchmarks" / "kill_intake.py")
        ended = run([sys.executable, script], "--check", cwd=Path.cwd(), limit=170)
        self.assertIn("100 ids sent 5 times each", ended.stdout, ended.stderr)
        self.assertIn("all expectations are met", ended.stdout)

    def test_acknowledged_requests_succeed(self) -> None:
        """The measured requests get a response without an error, also while other handlers block all threads."""
        require_program("wrk")
        ended = run([sys.executable, str(ROOT / "benchmarks" / "intake.py")], "--check", cwd=Path.cwd(), limit=170)
        self.assertIn("all requests have succeeded", ended.stdout, ended.stderr)


def report() -> Any:
    """Return the module benchmarks/web_report.py, which isn't in a package."""
    spec = importlib.util.spec_from_file_location("web_report", ROOT / "benchmarks" / "web_report.py")
    assert spec is not None and spec.loader is not None
    module = sys.modules["web_report"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def figures(peer: str, rate: float, errors: int = 0) -> dict[str, Any]:
    """Return the figures of a contender in a case."""
    shared = {"cpu_us": 50, "resident_mb": 40, "p50_ms": 2, "p99_ms": 4}
    return {"peer": peer, "requests_per_second": rate, "errors": errors, **shared}


class ReportTests(SynchronousTestCase):
    """Tables and targets."""

    def setUp(self) -> None:
        """Load the module."""
        self.report = report()

    def test_errors_are_not_counted(self) -> None:
        """A server that responded with errors has their number instead of a rate, in no ratio and no target."""
        results = {"base": {"ours": figures("errklein", 8000), "aiohttp": figures("aiohttp", 20_000, errors=1234)}}
        rows = {row[0]: row for row in self.report.full_rows(results, "base", "base")}
        self.assertEqual(rows["aiohttp"][1:3], ["1,234 errors", "–"])
        self.assertEqual((rows["ours"][1], rows["ours"][6]), ("8,000", "–"))
        self.assertEqual(self.report.dimension_rows(results, {"a": "base", "b": "base"})[2][1], "1,234 errors")
        target = self.report.Target("ours / aiohttp", ("base", "ours"), ("base", "aiohttp"), 0.1)
        self.assertFalse(target.verdict(results)["met"])

    def test_pages_get_the_sections_that_they_have(self) -> None:
        """The lines between the marks are replaced, and all others stay."""
        page = Path(self.mktemp())
        page.write_text("a\n<!-- begin x -->\nold\n<!-- end x -->\nb\n")
        for _ in range(2):
            self.report.fill({"x": "new", "y": "other"}, [page])
            self.assertEqual(page.read_text(), "a\n<!-- begin x -->\n\nnew\n\n<!-- end x -->\nb\n")

    def test_marks(self) -> None:
        """The documentation has the marks at which the benchmarks write their tables."""
        for page, marks in (
            ("docs/measurements.md", "tables versions intake irc"),
            ("docs/benchmarks.md", "targets intake_targets irc_targets"),
        ):
            found = re.findall(
                r"<!-- begin (\w+) -->\n.*?<!-- end \1 -->\n", (ROOT / page).read_text("utf-8"), re.DOTALL
            )
            self.assertEqual(found, marks.split(), page)
