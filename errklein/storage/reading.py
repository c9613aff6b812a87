"""Reads stored values: the bot's own without a restriction, restored ones with the restriction of `restricted_pickling`."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import Any

from errklein.storage.pickling import loads
from errklein.storage.restricted_pickling import restricted_loads

FindStoredClass = Callable[[str, str, str], object]
"""Looks up a class or function that a stored value names, by namespace, module and name; returns None for an unknown one."""


def _unknown(*name: str) -> None:
    """Knows no class."""


@dataclass(frozen=True)
class ValueReader:
    """Looks up the classes that values name.

    `find_class` looks up each class that a value of the bot's own names; if it returns None, the class is imported from the
    module that the value names. For a restored value, `find_restored_class` looks up the classes that aren't in
    `standard_names`; if it returns None, the value is refused.
    """

    find_class: FindStoredClass = _unknown
    find_restored_class: FindStoredClass = _unknown

    def load(self, namespace: str, data: bytes, trusted: Collection[str] | None) -> Any:
        """The value of a pickle in the namespace; raises any error of unpickling.

        `trusted` are the names that a restored value may use in addition; None: the value is the bot's own.
        """
        find_class = partial(self.find_class, namespace)
        if trusted is None:
            return loads(data, find_class)
        return restricted_loads(data, partial(self.find_restored_class, namespace), find_class, trusted)


DEFAULT_READER = ValueReader()
"""Finds each class where the value says; restored values may use those of `standard_names` only."""
