"""Matching of `denyargs` patterns against arguments, also in the forms in which a command may get them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import lru_cache

from errklein.chat.names import CHARACTER_SET, compiled, literal_brackets, patterns_of
from errklein.commands._arguments import ARG_BOTCMD_CHARACTER_REPLACEMENTS, words_of
from errklein.text import folded

_WILDCARD = re.compile(rf"(\*|\?|{CHARACTER_SET})")

_SYNTAX = "*?[]!-"

_QUOTING = re.compile(rf"[\\\"'{''.join(ARG_BOTCMD_CHARACTER_REPLACEMENTS)}]")
"""Characters that splitters remove or replace. Splitting is slow, and most arguments contain none of them."""


def denies(text: str, patterns: Iterable[str] | str) -> bool:
    """Return whether one of the patterns matches the arguments, as typed or in normalised form.

    Text and pattern are normalised by `errklein.text.folding.folded`, so that case, fullwidth letters and invisible characters
    don't evade a rule. In normalised form, `?` and `[…]` match one character of the normalised text.

    The text is also compared in the forms that the command may get: with one space between words, and without the quotes and
    backslashes that splitters such as shlex remove.
    """
    texts = set(_as_split(text))
    forms = {folded(one) for one in texts} | {" ".join(folded(one).split()) for one in texts}
    return any(
        any(compiled(pattern).match(one) for one in texts)
        or ((normal := normalised(pattern)) is not None and any(compiled(normal).match(form) for form in forms))
        for pattern in patterns_of(patterns)
    )


def _as_split(text: str) -> Iterator[str]:
    """Yield the text, and its words as the usual splitters return them, joined by one space."""
    yield text
    yield " ".join(text.split())
    if _QUOTING.search(text) is None:
        return
    # They treat typographic quotes differently, so one may fail where the other succeeds.
    for splitter in (shlex.split, words_of):
        with suppress(ValueError):
            yield " ".join(splitter(text))


@lru_cache(maxsize=4096)
def normalised(pattern: str) -> str | None:
    """Return the pattern for normalised text, or None if only wildcards remain, which would deny all arguments."""
    parts = _WILDCARD.split(pattern)
    wildcards, literals = parts[1::2], parts[0::2]
    forms = [folded(literal) for literal in literals]
    if any(literals) and not any(forms):
        return None
    # A literal must not become a wildcard: folding turns a fullwidth asterisk into "*".
    shown = [re.sub(r"[*?]", r"[\g<0>]", literal_brackets(form)) for form in forms]
    sets = [_folded_set(wildcard) if wildcard[0] == "[" else wildcard for wildcard in wildcards]
    return shown[0] + "".join(part for pair in zip(sets, shown[1:], strict=True) for part in pair)


def _folded_set(members: str) -> str:
    """Return the set with its members folded, except those that fold to several characters or to syntax."""
    forms = ((one, folded(one)) for one in members)
    return "".join(form if len(form) == 1 and form not in _SYNTAX else one for one, form in forms)
