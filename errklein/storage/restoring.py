"""Checks of values from outside before they are stored: which of the names in them may be used."""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from errklein.storage.pickle_names import DamagedPickle, names_in
from errklein.storage.sqlite import Row


class Verdict(enum.Enum):
    """The judgement of a name in a restored value."""

    ALLOWED = enum.auto()
    MISSING = enum.auto()
    """The name belongs to a plugin that isn't installed, or that doesn't define it now; allowed when it does."""
    REFUSED = enum.auto()


Judge = Callable[[str, str, str], Verdict]
"""Judges a name by the namespace of the value, the module and the name in it."""


@dataclass(frozen=True)
class CheckedValue:
    """The names in a value that are refused, and those that are missing, each as "module.qualname", sorted."""

    namespace: str
    key: str
    refused: list[str]
    missing: list[str]

    @property
    def refusal(self) -> str:
        """A line that names the refused classes and functions, and the option that allows them."""
        options = " ".join(f"--trust {name}" for name in self.refused)
        return (
            f"{self.namespace}: {self.key!r} uses {' and '.join(self.refused)}, which values from outside may not use; "
            f"to allow that, add {options}"
        )

    @property
    def warning(self) -> str:
        """A line that names the missing classes."""
        return (
            f"{self.namespace}: {self.key!r} is kept as it is, and can be read when the plugin defines "
            f"{' and '.join(self.missing)}"
        )


def check_value(namespace: str, key: str, data: bytes, judge: Judge, trusted: Collection[str]) -> CheckedValue:
    """Judge each name in the pickle `data` that isn't `trusted`; raises DamagedPickle."""
    verdicts = {
        f"{module}.{name}": judge(namespace, module, name)
        for module, name in sorted(names_in(data))
        if f"{module}.{name}" not in trusted
    }
    return CheckedValue(
        namespace,
        key,
        [name for name, verdict in verdicts.items() if verdict is Verdict.REFUSED],
        [name for name, verdict in verdicts.items() if verdict is Verdict.MISSING],
    )


def check_rows(rows: Iterable[Row], judge: Judge, trusted: Collection[str]) -> tuple[list[str], list[str]]:
    """Refusals, a line for each value with a refused name, and warnings, a line for each that can't be read otherwise."""
    refusals: list[str] = []
    warnings: list[str] = []
    for namespace, key, data in rows:
        try:
            checked = check_value(namespace, key, data, judge, trusted)
        except DamagedPickle as error:
            # Reading it only raises an error, and the operator may be able to repair it.
            warnings.append(f"{namespace}: {key!r} is kept as it is, and can't be read: {error}")
            continue
        if checked.refused:
            refusals.append(checked.refusal)
        if checked.missing:
            warnings.append(checked.warning)
    return refusals, warnings
