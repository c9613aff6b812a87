"""Source lines in error messages."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein.text.errors import source_excerpt


class SourceExcerptTests(SynchronousTestCase):
    """The excerpt of a file."""

    def setUp(self) -> None:
        """Use a new file."""
        self.path = Path(self.mktemp())

    def excerpt(self, source: str, line: int = 1, column: int | None = None) -> str:
        """Return the excerpt of a file with this source."""
        self.path.write_text(source)
        return source_excerpt(self.path, line, column)

    def test_line(self) -> None:
        """The line is shown with its number, and a caret below the column."""
        self.assertEqual(self.excerpt("a = 1\nif x:\n    b = c d\n", 3), "    3 |     b = c d")
        self.assertEqual(self.excerpt("a = 1\n\tb = c d\n", 2, 6), "    2 |  b = c d\n      |      ^")

    def test_strings(self) -> None:
        """Contents of strings are masked, except for keys."""
        for written, shown in (
            ("x = f(\"hunter22\", b'hunter23')", "x = f(\"•••\", b'•••')"),
            ("x = {'password': 'hunter22', 'it\\'s': 1}", "x = {'password': '•••', 'it\\'s': 1}"),
            ("x = os.environ['TOKEN'] + ['hunter22']", "x = os.environ['TOKEN'] + ['•••']"),
            ("x = 'hunter22", "x = '•••"),
            ('x = """hunter22', 'x = """•••'),
            ("x = ''", "x = ''"),
            ("PASSWORD = hunter 22", "PASSWORD = •••"),
            ("  api_key: str = hunter22", "  api_key: str = •••"),
            ("x = 'https://bot:hunter22@example.org'", "x = '•••'"),
        ):
            self.assertEqual(self.excerpt(written), f"    1 | {shown}")

    def test_caret_after_masked_string(self) -> None:
        """The caret is below the same character as in the file."""
        self.assertEqual(self.excerpt("f('hunter22' x)", 1, 14), "    1 | f('•••' x)\n      |         ^")

    def test_within_string(self) -> None:
        """A line within a string of several lines, which may be a key, isn't shown."""
        for source in ('x = """\nhunter22\n"""\n', 'x = """\nhunter22\n', "y = 'a' \\\n'b'\nx = '''\nhunter22"):
            line = source.split("\n").index("hunter22") + 1
            self.assertEqual(self.excerpt(source, line), "")

    def test_nothing_to_show(self) -> None:
        """Without the file or the line, the excerpt is empty."""
        self.assertEqual(source_excerpt(self.path, 1), "")
        for line in (0, 3):
            self.assertEqual(self.excerpt("x\n", line), "")
        self.assertEqual(self.excerpt("x\0"), "")
        self.assertLess(len(self.excerpt("x" * 1000, 1, 900)), 300)

    @given(st.text(), st.integers(-1, 4), st.one_of(st.none(), st.integers(-1, 20)))
    def test_any_text(self, source: str, line: int, column: int | None) -> None:
        """Any text gives no excerpt, one line, or two with a caret."""
        self.path = Path(self.mktemp())
        self.path.write_bytes(source.encode("utf-8", "surrogatepass"))
        self.assertLessEqual(len(source_excerpt(self.path, line, column).splitlines()), 2)
