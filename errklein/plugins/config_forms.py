"""The configuration of a plugin as a form: its secrets aren't shown, and what isn't changed keeps them."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pprint import pformat
from typing import Any

from errklein.text.masking import MASK, is_secret, masker

_LONGEST = 100_000  # the characters of a literal

_MISSING = object()


@dataclass(frozen=True)
class ConfigForm:
    """A configuration without its secrets.

    :param fields: The values by key, each with whether it is secret, if all are texts, numbers or booleans; else None.
    :param text: Without fields, the configuration as a Python literal; "" if the plugin has none.
    """

    fields: Mapping[str, tuple[object, bool]] | None
    text: str = ""


def form_of(template: Any, stored: Any) -> ConfigForm:
    """Return the form of a stored configuration; of the template if it is None."""
    if template is None:
        return ConfigForm(None)
    base = template if stored is None else stored
    if _is_flat(template) and isinstance(base, dict):
        values = {key: base.get(key, default) for key, default in template.items()}
        if _is_flat(values):
            shown = _masked(values)
            return ConfigForm({key: (shown[key], is_secret(key) or shown[key] == MASK) for key in values})
    return ConfigForm(None, pformat(_masked(base), sort_dicts=False))


def configuration_of(template: Any, stored: Any, given: Mapping[str, str] | str) -> Any:
    """Return the configuration that a form means. An empty secret field, or MASK in a text, keeps what is stored.

    :raises ValueError: The form doesn't have it; with the reason.
    """
    base = template if stored is None else stored
    if isinstance(given, str):
        value = _literal(given)
        if type(value) is not type(template):
            expected, found = f"{type(template).__name__} such as {template!r}", type(value).__name__
            raise ValueError(f"The given configuration looks fishy: it must be a {expected}, not a {found}")
        return _restored(value, base, "the configuration")
    fields = form_of(template, stored).fields
    if fields is None or not given.keys() <= fields.keys():
        raise ValueError("its keys have changed meanwhile; load the page again")
    kept = {key for key, (_, is_one) in fields.items() if key not in given or (is_one and given[key] in ("", MASK))}
    read = {key: _read(key, text, template[key]) for key, text in given.items() if key not in kept}
    return {**template, **base, **read}


def _literal(text: str) -> Any:
    problem = f"it has more than {_LONGEST} characters" if len(text) > _LONGEST else ""
    try:
        value = None if problem else ast.literal_eval(text)
        # Python refuses to show numbers with too many digits.
        repr(value)
    except (MemoryError, RecursionError):
        problem = "it is nested too deeply"
    except (SyntaxError, TypeError, ValueError) as error:
        # Python's message about values that aren't literals describes its syntax tree.
        is_tree = isinstance(error, ValueError) and "digits" not in str(error)
        problem = "expected a Python literal such as {'TOKEN': 'abc', 'ROOMS': ['#a']}" if is_tree else str(error)
    if not problem:
        return value
    raise ValueError(f"Syntax error in the given configuration: {problem}")


def _is_flat(value: Any) -> bool:
    # Browsers remove line breaks from fields.
    return isinstance(value, dict) and all(
        isinstance(key, str) and type(one) in (str, int, float, bool) and len(str(one).splitlines()) < 2
        for key, one in value.items()
    )


def _read(key: str, text: str, default: object) -> object:
    if isinstance(default, bool):
        return text.lower() in ("true", "1", "on", "yes")
    try:
        return type(default)(text)  # type: ignore[call-arg]
    except ValueError:
        raise ValueError(f"{key} must be a number such as {default}, not {text!r}") from None


def _masked(value: Any, secret: bool = False) -> Any:
    """Return a copy with MASK in place of each secret, by the name of its key or since it is known."""
    if isinstance(value, Mapping):
        return {key: _masked(one, secret or is_secret(str(key))) for key, one in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        items = [_masked(one, secret) for one in value]
        return type(value)(items) if type(value) in (tuple, set, frozenset) else items
    if isinstance(value, bool) or not value:
        return value
    return MASK if secret or (isinstance(value, str) and masker(value) != value) else value


def _restored(value: Any, base: Any, where: str, secret: bool = False) -> Any:
    """Return the value with the secrets of `base` in place of MASK. In a list, only unchanged items keep them: after a change,
    it isn't known whose they are."""
    if base is not _MISSING and repr(_masked(base, secret)) == repr(value):
        return base
    if isinstance(value, dict):
        known = base if isinstance(base, Mapping) else {}
        return {
            key: _restored(one, known.get(key, _MISSING), f"{where}[{key!r}]", secret or is_secret(str(key)))
            for key, one in value.items()
        }
    if isinstance(value, (list, tuple)):
        return type(value)(_items(value, base if isinstance(base, (list, tuple)) else (), where, secret))
    if MASK in repr(value):
        raise ValueError(f"{where} has {MASK}, and it isn't known for which secret; write it")
    return value


def _items(items: Sequence[Any], base: Sequence[Any], where: str, secret: bool) -> Iterator[Any]:
    shown = [repr(_masked(one, secret)) for one in base]
    given = [repr(one) for one in items]
    is_longer = given[: len(shown)] == shown
    for index, text in enumerate(given):
        found = index if is_longer and index < len(shown) else shown.index(text) if shown.count(text) == 1 else -1
        yield base[found] if found >= 0 else _restored(items[index], _MISSING, f"{where}[{index}]", secret)
