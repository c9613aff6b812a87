"""The page How far it goes computes its tables from the measured one."""

from __future__ import annotations

import sys
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from tests.processes import ROOT
from tests.test_examples import load

PAGE = ROOT / "docs" / "guides" / "how-far-it-goes.md"


class HowFarTests(SynchronousTestCase):
    """docs/guides/how-far-it-goes.md and benchmarks/how_far.py."""

    def setUp(self) -> None:
        """Load the modules of the benchmark, which need nothing else."""
        benchmarks = ROOT / "benchmarks"
        self.how_far = load(benchmarks / "how_far.py")
        with mock.patch.object(sys, "path", [str(benchmarks), *sys.path]):
            self.report = load(benchmarks / "web_report.py")
        self.text = PAGE.read_text("utf-8")

    def table(self, name: str) -> str:
        """Return the Markdown of a table of the page."""
        return self.text.partition(f"<!-- begin {name} -->\n")[2].partition(f"<!-- end {name} -->")[0].strip()

    def test_tables(self) -> None:
        """What is computed is computed from the table of what was measured."""
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in self.table("nodes").splitlines()]
        figures = self.how_far.figures_of(rows)
        self.assertEqual(len(figures), len(self.how_far.MEASURED))
        for name, function in (("nodes", "measured"), ("nodes_computed", "computed"), ("nodes_limits", "limit")):
            computed = getattr(self.how_far, f"{function}_rows")(figures)
            self.assertEqual(self.report.markdown(computed), self.table(name))

    def test_numbers(self) -> None:
        """Computed numbers have two digits."""
        self.assertEqual(
            [self.how_far.rounded(one) for one in (1234.0, 0.96 * 100, 98_765.0)], ["1,200", "96", "99,000"]
        )
