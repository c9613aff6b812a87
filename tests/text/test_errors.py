"""Texts and places of exceptions."""

from __future__ import annotations

import json
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from errklein.text.errors import line_in, line_outside

HERE = Path(__file__).parent


def raised(error: BaseException) -> BaseException:
    """Return the exception with a traceback that begins in this file."""
    try:
        raise error
    except type(error) as caught:
        return caught


class PlaceTests(SynchronousTestCase):
    """The lines of code that raised an exception."""

    def test_cause(self) -> None:
        """An exception that was raised elsewhere has the place of its cause."""
        error = KeyError()
        error.__cause__ = raised(ValueError())
        self.assertEqual(line_in(HERE, error), (Path(__file__), 18))

    def test_own_cause(self) -> None:
        """`raise error from error` ends the search for causes."""
        error = ValueError()
        error.__cause__ = error
        self.assertIsNone(line_in(HERE, error))
        self.assertEqual(line_in(HERE, raised(error)), (Path(__file__), 18))
        other = KeyError()
        error.__cause__, other.__cause__ = other, error
        self.assertIsNone(line_in(Path("/elsewhere"), error))

    def test_many_causes(self) -> None:
        """The search ends in a chain of 1,500 causes."""
        error = ValueError()
        for _ in range(1500):
            error, error.__cause__ = ValueError(), error
        self.assertIsNone(line_in(HERE, error))
        self.assertEqual(line_in(HERE, raised(error)), (Path(__file__), 18))

    def test_outside(self) -> None:
        """The last line outside of the directories counts."""
        try:
            json.loads("no JSON")
        except ValueError as error:
            place = line_outside([Path(json.__file__).parent], error)
            assert place is not None
            self.assertEqual(place[0], Path(__file__))
            self.assertIsNone(line_outside([Path("/")], error))
