"""Case mappings: the rules by which IRC servers compare nicks and channels.

Two names are equal if they are equal after folding. A server announces its mapping as CASEMAPPING in RPL_ISUPPORT (005), see
https://modern.ircdocs.horse/#casemapping-parameter. The default is the mapping of RFC 1459, section 2.2.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from errklein.chat.names import compiled, literal_brackets
from errklein.text import folded

_UPPER, _LOWER = "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz"


class CaseMapping(Enum):
    """A case mapping; implements `errklein.chat.names.NameRules`.

    The mappings are nested: names that are equal in ASCII (or UNKNOWN) are equal in RFC1459_STRICT, and these in RFC1459.
    """

    ASCII = "ascii"
    RFC1459_STRICT = "rfc1459-strict"
    RFC1459 = "rfc1459"
    UNKNOWN = "unknown"
    """A mapping that errklein doesn't implement, such as rfc7613. It fails closed: names and patterns that allow are compared
    as in ASCII, whose letters every mapping folds; patterns that deny fold all that any mapping may fold."""

    @classmethod
    def announced(cls, tokens: Iterable[str]) -> CaseMapping | None:
        """Return the mapping that the tokens of a 005 line announce; None if CASEMAPPING isn't among them."""
        announced = None
        for token in tokens:
            name, equals, value = token.partition("=")
            if name == "CASEMAPPING" and equals:
                announced = _BY_NAME.get(value.lower(), cls.UNKNOWN)
            elif name == "-CASEMAPPING":
                announced = cls.RFC1459
        return announced

    def fold(self, name: str) -> str:
        """Return the folded form of a nick, channel or mask."""
        return name.translate(_TABLES[self])

    def matches(self, name: str, pattern: str, *, denies: bool = False) -> bool:
        """Return whether the pattern matches the whole name. Only `*` and `?` are wildcards: nicks may contain brackets."""
        mapping = self
        if denies and self is CaseMapping.UNKNOWN:
            mapping, name, pattern = CaseMapping.RFC1459, folded(name), folded(pattern)
        return compiled(literal_brackets(mapping.fold(pattern))).match(mapping.fold(name)) is not None


_TABLES = {
    CaseMapping.ASCII: str.maketrans(_UPPER, _LOWER),
    CaseMapping.RFC1459_STRICT: str.maketrans(_UPPER + "[]\\", _LOWER + "{}|"),
    CaseMapping.RFC1459: str.maketrans(_UPPER + "[]\\~", _LOWER + "{}|^"),
    CaseMapping.UNKNOWN: str.maketrans(_UPPER, _LOWER),
}

# Servers use both spellings of the strict mapping.
_BY_NAME = {mapping.value: mapping for mapping in _TABLES} | {"strict-rfc1459": CaseMapping.RFC1459_STRICT}


def same_name(one: str, other: str, *mappings: CaseMapping) -> bool:
    """Return whether the names are equal in all of the mappings."""
    return all(mapping.fold(one) == mapping.fold(other) for mapping in set(mappings))
