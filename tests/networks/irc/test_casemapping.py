"""Equality of names, and patterns, by case mapping."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein.networks.irc.identifiers import CaseMapping, same_name

LETTERS = "aAbBzZ09-_`[]{}\\|^~"
NICKS = st.text(LETTERS, min_size=1, max_size=8)
MASKS = st.one_of(NICKS, st.builds("{}!{}@{}".format, NICKS, NICKS, st.sampled_from(["host", "HOST", "a.b", "user/x"])))
PATTERNS = st.text(LETTERS + "***??!@", max_size=8) | MASKS
KNOWN = st.sampled_from([CaseMapping.ASCII, CaseMapping.RFC1459_STRICT, CaseMapping.RFC1459])

FOLDED = {
    CaseMapping.ASCII: {},
    CaseMapping.RFC1459_STRICT: {"[": "{", "]": "}", "\\": "|"},
    CaseMapping.RFC1459: {"[": "{", "]": "}", "\\": "|", "~": "^"},
}


def reference(name: str, pattern: str, pairs: dict[str, str]) -> bool:
    """Return whether the pattern matches, by the definition of `*` and `?` alone."""
    if not pattern:
        return not name
    if pattern[0] == "*":
        return reference(name, pattern[1:], pairs) or (name != "" and reference(name[1:], pattern, pairs))
    if not name:
        return False
    one, other = (pairs.get(character, character).lower() for character in (name[0], pattern[0]))
    return (pattern[0] == "?" or one == other) and reference(name[1:], pattern[1:], pairs)


class MatchingTests(SynchronousTestCase):
    """Patterns for people and rooms."""

    @given(KNOWN, MASKS, PATTERNS)
    @example(CaseMapping.ASCII, "bobw", "bob[away]")
    @example(CaseMapping.RFC1459, "BOB{AWAY}!u@h", "bob[away]!*@*")
    def test_like_the_reference(self, mapping: CaseMapping, name: str, pattern: str) -> None:
        """Only `*` and `?` are wildcards, and letters are folded by the mapping, for allowing and denying patterns."""
        for denies in (False, True):
            self.assertEqual(mapping.matches(name, pattern, denies=denies), reference(name, pattern, FOLDED[mapping]))

    @given(NICKS, NICKS)
    def test_patterns_without_wildcards_are_names(self, name: str, other: str) -> None:
        """A pattern without wildcards matches exactly the names that are equal to it."""
        for mapping in CaseMapping:
            self.assertEqual(mapping.matches(name, other), mapping.fold(name) == mapping.fold(other))

    @given(MASKS, PATTERNS)
    def test_unknown_mapping(self, name: str, pattern: str) -> None:
        """With an unknown mapping, patterns allow no more names than with any known one, and deny no fewer."""
        admitted = CaseMapping.UNKNOWN.matches(name, pattern)
        denied = CaseMapping.UNKNOWN.matches(name, pattern, denies=True)
        for mapping in FOLDED:
            matched = mapping.matches(name, pattern)
            self.assertLessEqual(admitted, matched)
            self.assertGreaterEqual(denied, matched)

    def test_unknown_mapping_beyond_ascii(self) -> None:
        """With an unknown mapping, `Ünal` is denied like `ünal`, and not allowed like it."""
        self.assertTrue(CaseMapping.UNKNOWN.matches("ünal!u@h", "Ünal!*", denies=True))
        self.assertFalse(CaseMapping.UNKNOWN.matches("ünal!u@h", "Ünal!*"))


class FoldingTests(SynchronousTestCase):
    """Equality of names."""

    @given(st.text(), st.text())
    def test_finer_and_coarser(self, one: str, other: str) -> None:
        """Names that are equal in a finer mapping are equal in a coarser one; folding is idempotent."""
        finest_first = [CaseMapping.ASCII, CaseMapping.RFC1459_STRICT, CaseMapping.RFC1459]
        equal = [same_name(one, other, mapping) for mapping in finest_first]
        self.assertEqual(equal, sorted(equal))
        for mapping in CaseMapping:
            self.assertEqual(mapping.fold(mapping.fold(one)), mapping.fold(one))

    def test_tilde(self) -> None:
        """`~` and `^` are equal in rfc1459 only."""
        equal = {mapping for mapping in CaseMapping if same_name("a~", "A^", mapping)}
        self.assertEqual(equal, {CaseMapping.RFC1459})


class AnnouncementTests(SynchronousTestCase):
    """The mapping that the server announces in 005."""

    def test_values(self) -> None:
        """Both spellings of the strict mapping are known; others are unknown; without CASEMAPPING nothing changes."""
        for tokens, announced in (
            (["CASEMAPPING=ascii"], CaseMapping.ASCII),
            (["NICKLEN=9", "CASEMAPPING=rfc1459", "are supported by this server"], CaseMapping.RFC1459),
            (["CASEMAPPING=rfc1459-strict"], CaseMapping.RFC1459_STRICT),
            (["CASEMAPPING=STRICT-RFC1459"], CaseMapping.RFC1459_STRICT),
            (["CASEMAPPING=rfc7613"], CaseMapping.UNKNOWN),
            (["CASEMAPPING="], CaseMapping.UNKNOWN),
            (["-CASEMAPPING"], CaseMapping.RFC1459),
            (["CASEMAPPING"], None),
            (["NICKLEN=9"], None),
            ([], None),
        ):
            self.assertIs(CaseMapping.announced(tokens), announced, tokens)
