"""The lint rules for docstrings of modules and for names."""

from __future__ import annotations

from pathlib import Path
from runpy import run_path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

SCRIPT = Path(__file__).parent.parent / ".ci" / "prose.py"


class ProseTests(SynchronousTestCase):
    """Violations in one module."""

    def setUp(self) -> None:
        """Load the script, which isn't importable."""
        self.script: Any = run_path(str(SCRIPT))

    def lines(self, text: str, name: str = "module.py") -> list[int]:
        """Return the lines of the violations."""
        return [line for line, _ in self.script["violations"](Path(name), text)]

    def test_clauses(self) -> None:
        """A docstring that begins with What, Who, How or TBD is a violation; other words that begin so aren't."""
        for beginning in ("What is sent", "Who may do it", "How it runs", "TBD"):
            self.assertEqual(self.lines(f'"""{beginning}."""\n'), [1], beginning)
        self.assertEqual(self.lines('"""Whole messages."""\n'), [])
        self.assertEqual(self.lines(""), [])

    def test_names(self) -> None:
        """A replaced term is a violation in the name of a module, class or public function."""
        self.assertEqual(self.lines("", "_patience.py"), [1])
        self.assertEqual(self.lines("\nclass NotYet:\n    def turns(self): ...\n"), [2, 3])
        self.assertEqual(self.lines("def told(): ...\nasync def is_told(): ...\n"), [1, 2])

    def test_private_functions(self) -> None:
        """Private functions, test methods and longer words are accepted."""
        self.assertEqual(self.lines("def _told(): ...\ndef test_told(): ...\ndef returns(): ...\n"), [])
