"""Comparison of a plugin's configuration with its template."""

from __future__ import annotations

from typing import Any


class ValidationException(Exception):
    """Raised by `BotPlugin.check_configuration` if a configuration is invalid.

    The text is shown to the administrator who configures the plugin::

        def check_configuration(self, configuration):
            super().check_configuration(configuration)
            if not configuration["URL"].startswith("https://"):
                raise ValidationException("URL must begin with https://")
    """


def recurse_check_structure(sample: Any, to_check: Any, where: str = "the configuration") -> None:
    """Raise ValidationException if a configuration doesn't have the structure of a template.

    For example::

        >>> recurse_check_structure({"URL": "", "PORTS": [80]}, {"URL": "https://example.org", "PORTS": [80, "x"]})
        Traceback (most recent call last):
        ...
        ValidationException: the configuration['PORTS'][1] must be int, as in 80, but is str

    The rules are applied recursively:

    - None in the sample matches any value.
    - Otherwise the types must be equal; a subclass doesn't match.
    - Dictionaries must have the same keys.
    - Each item of a list or tuple must match the first item of the sample. An empty sample matches any items.

    :param sample: The template.
    :param to_check: The configuration.
    :param where: The name of the configuration in error messages.
    :raises ValidationException: With the key and the expected type or key.
    """
    if sample is None:
        return
    if type(sample) is not type(to_check):
        expected, given = type(sample).__name__, type(to_check).__name__
        raise ValidationException(f"{where} must be {expected}, as in {sample!r}, but is {given}")
    if isinstance(sample, (list, tuple)):
        for index, item in enumerate(to_check):
            if sample:
                recurse_check_structure(sample[0], item, f"{where}[{index}]")
    elif isinstance(sample, dict):
        if missing := [key for key in sample if key not in to_check]:
            raise ValidationException(f"{where} lacks the key {missing[0]!r}")
        if unknown := [key for key in to_check if key not in sample]:
            raise ValidationException(f"{where} contains the unknown key {unknown[0]!r}")
        for key, value in sample.items():
            recurse_check_structure(value, to_check[key], f"{where}[{key!r}]")
