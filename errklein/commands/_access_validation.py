"""Validation of the settings ACCESS_CONTROLS and ACCESS_CONTROLS_DEFAULT.

A misspelt key or an impossible pattern would make a rule ineffective without an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from errklein.commands.access import applicable_pattern

NAME_PATTERN_KEYS = ("allowusers", "denyusers", "allowrooms", "denyrooms")
"""Keys whose values are patterns of people or rooms. Brackets are literal in them; `errklein.config.warnings` reports these."""

PATTERN_KEYS = (*NAME_PATTERN_KEYS, "allowargs", "denyargs")
"""Keys whose values must be a string or a tuple of strings."""

FLAG_KEYS = ("allowmuc", "allowprivate")
"""Keys whose values must be True or False."""


class InvalidValue(Exception):
    """A setting is invalid. `expected` describes valid values; `given` is the invalid part, or None for the whole value."""

    def __init__(self, expected: str, given: str | None = None) -> None:
        super().__init__(expected, given)
        self.expected = expected
        self.given = given


def check_rules(rules: Any) -> Any:
    """Return the value of ACCESS_CONTROLS, a dict of rules by pattern. Raises InvalidValue if a pattern or rule is invalid."""
    if not isinstance(rules, Mapping):
        raise InvalidValue("a dict of rules", f"a {type(rules).__name__}")
    for pattern, rule in rules.items():
        _check_pattern(pattern)
        check_rule(rule, f" of the rule {pattern!r}")
    return rules


def check_rule(rule: Any, where: str = "") -> Any:
    """Return one rule of ACCESS_CONTROLS, or ACCESS_CONTROLS_DEFAULT. Raises InvalidValue if a key or value is invalid.

    `where` is appended to the invalid part in the error.
    """
    if not isinstance(rule, Mapping):
        raise InvalidValue(
            "a dict such as {'allowusers': ('alice',)}", f"a {type(rule).__name__}" + where.replace(" of ", " as ", 1)
        )
    for key, value in rule.items():
        if key not in (*PATTERN_KEYS, *FLAG_KEYS):
            raise InvalidValue(f"one of the keys {', '.join(sorted((*PATTERN_KEYS, *FLAG_KEYS)))}", f"{key!r}{where}")
        if value is None:
            continue
        if key in FLAG_KEYS and not isinstance(value, (bool, int)):
            raise InvalidValue(f"True or False for {key}{where}", _shown(value))
        if key in PATTERN_KEYS and not _is_text_or_texts(value):
            raise InvalidValue(f"a string or a tuple of strings for {key}{where}", _shown(value))
    return rule


def unmatched(patterns: Iterable[str], commands: Iterable[tuple[str, str]]) -> list[str]:
    """Return the patterns of ACCESS_CONTROLS that match none of the commands, which are pairs of plugin and command."""
    known = list(commands)
    return [pattern for pattern in patterns if not any(applicable_pattern(*command, (pattern,)) for command in known)]


def _check_pattern(pattern: Any) -> None:
    if not isinstance(pattern, str):
        raise InvalidValue("a string such as 'status*' or 'Health:status' for each rule", _shown(pattern))
    plugin, colon, command = pattern.partition(":")
    if ":" in command or not plugin.strip() or (colon and not command.strip()):
        raise InvalidValue(
            "a pattern that can match, such as 'status*' or 'Health:status'", f"{pattern!r}, which matches no command"
        )


def _is_text_or_texts(value: Any) -> bool:
    if isinstance(value, (tuple, list, set, frozenset)):
        return all(isinstance(item, str) for item in value)
    return isinstance(value, str)


def _shown(value: Any) -> str:
    return repr(value) if isinstance(value, (str, int, float, bytes)) else f"a {type(value).__name__}"
