"""Tests for the comparison of a configuration with its template."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein import ValidationException, recurse_check_structure

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=1) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


class StructureTests(SynchronousTestCase):
    """The error names the place of the difference."""

    def refused(self, sample: Any, value: Any) -> str:
        """Return the error about the value."""
        return str(self.assertRaises(ValidationException, recurse_check_structure, sample, value))

    def test_types_must_be_equal(self) -> None:
        """A bool isn't an int, and the error names a nested value."""
        self.assertIn("['a']['b'] must be int", self.refused({"a": {"b": 1}}, {"a": {"b": True}}))

    def test_keys_must_be_the_same(self) -> None:
        """The error names a missing or unknown key."""
        self.assertIn("lacks the key 'HOST'", self.refused({"HOST": ""}, {}))
        self.assertIn("contains the unknown key 'PROT'", self.refused({}, {"PROT": 1}))

    @given(VALUES)
    def test_everything_is_built_as_itself(self, value: Any) -> None:
        """A template is always a valid configuration."""
        recurse_check_structure(value, value)
