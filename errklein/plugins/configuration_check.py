"""Checks a plugin's configuration against its template."""

from __future__ import annotations

from typing import Any


class ValidationException(Exception):
    """A plugin's configuration isn't what the plugin expects."""


def recurse_check_structure(sample: Any, to_check: Any, where: str = "the configuration") -> None:
    """Raise ValidationException, saying where, unless `to_check` is built as `sample` is.

    Types have to be equal, dictionaries need the same keys, and each item of a list or tuple is compared with the
    sample's first one. None in the sample stands for anything, and so does the item of an empty sample list.
    """
    if sample is None:
        return
    if type(sample) is not type(to_check):
        expected, given = type(sample).__name__, type(to_check).__name__
        raise ValidationException(f"{where} should be {expected}, as in {sample!r}, but is {given}")
    if isinstance(sample, (list, tuple)):
        for index, item in enumerate(to_check):
            if sample:
                recurse_check_structure(sample[0], item, f"{where}[{index}]")
    elif isinstance(sample, dict):
        if missing := [key for key in sample if key not in to_check]:
            raise ValidationException(f"{where} doesn't contain the key {missing[0]}")
        if unknown := [key for key in to_check if key not in sample]:
            raise ValidationException(f"{where} contains the unknown key {unknown[0]}")
        for key, value in sample.items():
            recurse_check_structure(value, to_check[key], f"{where}[{key!r}]")
