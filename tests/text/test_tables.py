"""Tables as text."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein.text.layout import PADDED_CAP, boxed_table, compact_table, width
from tests import takes_long

CELLS = st.lists(st.lists(st.text(alphabet="ab 漢\u0301\n", max_size=8), min_size=2, max_size=2), max_size=5)


class SizeTests(SynchronousTestCase):
    """Widths and sizes of tables."""

    @given(CELLS)
    def test_straight(self, rows: list[list[str]]) -> None:
        """All lines of a box have the same width."""
        lines = boxed_table(["a", "b"], rows).splitlines()
        self.assertEqual(1, len(set(map(width, lines))), lines)

    @given(st.integers(1, 50_000), st.integers(0, 2_000), st.sampled_from("x漢"))
    def test_one_long_cell(self, long: int, rows: int, character: str) -> None:
        """With one long cell the others aren't padded to many times the size, and no text is lost."""
        takes_long()
        for draw in (boxed_table, compact_table):
            table = draw(["h", character * long], [["a", "b"]] * rows)
            self.assertEqual(table.count(character), long)
            self.assertEqual(table.count("b"), rows)
            self.assertLess(len(table), 2 * PADDED_CAP + long + 20 * rows + 200)

    def test_sticks_out(self) -> None:
        """In a table that would be too large only the long cells exceed their columns."""
        lines = boxed_table(["a", "b"], [["c", "d"], ["x" * 5_000, "y"], *[["漢", "e"]] * 500]).splitlines()
        self.assertIn(f"│ {'x' * 5_000} │ y │", lines)
        self.assertEqual(2, len(set(map(width, lines))))
