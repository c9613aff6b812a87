"""The tests of all sources with every change of their payloads, of which their own tests try some: half a minute."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from unittest import TestCase

from errklein.testing.source_contract import SourceContract
from tests import sources


def contracts() -> dict[str, type[TestCase]]:
    """Return the tests of `SourceContract` for each source, with all changes."""
    found = {}
    for module in iter_modules(sources.__path__, "tests.sources."):
        for name, case in vars(import_module(module.name)).items():
            if isinstance(case, type) and issubclass(case, SourceContract) and issubclass(case, TestCase):
                found[name] = type(name, (case,), {"every": 1, "__module__": __name__})
    return found


globals().update(contracts())
