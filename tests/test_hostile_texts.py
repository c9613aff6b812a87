"""No text from outside takes a pattern or function of errklein more than linear time."""

from __future__ import annotations

import re
import subprocess
import sys
from types import ModuleType

from twisted.trial.unittest import SynchronousTestCase

from tests import hostile_texts, takes_long
from tests.hostile_texts import FoundPattern, patterns, slow, texts_for, uses_of


class LinearTimeTests(SynchronousTestCase):
    """All patterns, and the functions that use them."""

    def test_all(self) -> None:
        """Texts of 256 kB take at most 128 times as long as texts of 4 kB, whatever is repeated in them."""
        takes_long()
        ended = subprocess.run(
            [sys.executable, "-m", "tests.hostile_texts"], capture_output=True, text=True, check=False
        )
        lines = ended.stdout.splitlines() or [""]
        self.assertEqual([line for line in lines if line.startswith("too slow")], [])
        # The last line names what has exceeded the limit of CPU time.
        self.assertEqual((ended.returncode, lines[-1]), (0, "compared all"), ended.stderr)


class FinderTests(SynchronousTestCase):
    """The search for patterns, and for texts that take them long."""

    def test_slow_patterns(self) -> None:
        """A pattern that takes quadratic time is found by one of its texts, and its linear form isn't."""
        takes_long()
        for pattern, linear in (
            (r"([^=&]+)=([^&]+)", r"(?<![^&])([^=&]++)=([^&]+)"),
            (r"\s+$", r"(?<!\s)\s++$"),
            (r"<(\w+)>.*</\1>", r"<(\w+)>"),
            (r"(?:a|b)*c", r"(?<![ab])(?:a|b)*+c"),
        ):
            compiled = re.compile(pattern)
            search = uses_of(FoundPattern("", compiled, frozenset({"search"})))
            self.assertIn("times as long", slow(search, texts_for(compiled, 600)), pattern)
            compiled = re.compile(linear)
            search = uses_of(FoundPattern("", compiled, frozenset({"search"})))
            self.assertEqual(slow(search, texts_for(compiled, 600)), "")

    def test_places(self) -> None:
        """Patterns are found in globals, containers, classes, default arguments and calls of `re`, with their uses."""
        source = """
import re

A = re.compile("a")
B = {"key": [re.compile(b"b")]}


class C:
    PARTS = "c"
    FOUND = re.compile(f"{PARTS}+")

    def search(self, pattern=re.compile("d")):
        return re.sub("e", "", self.FOUND.sub("", "")), A.fullmatch(""), re.split("f", "", flags=re.DOTALL)
"""
        module = ModuleType("example")
        exec(source, vars(module))
        self.patch(hostile_texts, "_source", lambda module: source)
        self.addCleanup(hostile_texts._nodes.cache_clear)
        found = {one.pattern.pattern: one for one in patterns([module])}
        self.assertEqual(sorted(map(str, found)), ["a", "b'b'", "c+", "d", "e", "f"])
        self.assertEqual(found["a"].methods, {"fullmatch"})
        self.assertEqual(found["c+"].methods, {"sub"})
        self.assertEqual(found["e"].methods, {"sub"})
        self.assertTrue(found["f"].pattern.flags & re.DOTALL)

    def test_made_at_run_time(self) -> None:
        """A pattern that is made at run time must be in the list of those that are safe."""
        source = "import re\n\n\ndef search(part):\n    return re.search(part, '')\n"
        module = ModuleType("example")
        exec(source, vars(module))
        self.patch(hostile_texts, "_source", lambda module: source)
        error = self.assertRaises(LookupError, patterns, [module])
        self.assertIn("example:5: re.search(part, '')", str(error))
