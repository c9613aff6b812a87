"""Tests of fallbacks: a table of what is wanted, what a network can do, and what it does."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import errklein
from errklein.chat.features import BARE, Features, chosen, operations
from errklein.chat.handles import MessageRef
from errklein.chat.operations import (
    Delete,
    Edit,
    Kind,
    Operation,
    Post,
    React,
    Unsupported,
    Upload,
    Wanted,
)
from errklein.text import split_rendered

FULL = Features(
    size=10,
    threads=True,
    edits=True,
    deletions=True,
    reactions=True,
    files=True,
    mentions=True,
    choices=2,
    measure=len,
)
IRC = Features(highlights_names=True)
ONE, TWO = MessageRef("net", "#ops", "m1", "t"), MessageRef("net", "#ops", "m2", "t")
THUMB = "👍"
YES_NO = ("yes", "no")

Row = tuple[str, Wanted, str, Features, Sequence[MessageRef], Sequence[Operation] | str]

TABLE: Sequence[Row] = (
    ("a text", Wanted(), "hello", FULL, (), [Post("hello")]),
    ("a long text", Wanted(), "hello there you", FULL, (), [Post("hello"), Post("there you")]),
    ("a network that splits itself", Wanted(), "hello there you", BARE, (), [Post("hello there you")]),
    ("a blank text", Wanted(), " \n", FULL, (), []),
    ("in a thread", Wanted(thread="t"), "hello there you", FULL, (), [Post("hello", "t"), Post("there you", "t")]),
    ("no threads", Wanted(thread="t", quote="Ready?"), "yes", BARE, (), [Post("> Ready?\n\nyes")]),
    ("no threads, errbot's reply", Wanted(thread="t"), "yes", BARE, (), [Post("yes")]),
    ("a quote isn't needed", Wanted(thread="t", quote="Ready?"), "yes", FULL, (), [Post("yes", "t")]),
    (
        "mentions",
        Wanted(mentions=("@al:hs",)),
        "hello there you",
        FULL,
        (),
        [Post("hello", "", ("@al:hs",)), Post("there you")],
    ),
    ("mentions by name", Wanted(mentions=("#ops/al", "bo!u@h")), "look", IRC, (), [Post("al, bo: look")]),
    ("mentioned in the text", Wanted(mentions=("al", "bo")), "Al: look", IRC, (), [Post("bo: Al: look")]),
    ("part of a word is no name", Wanted(mentions=("al",)), "already", BARE, (), [Post("al: already")]),
    ("name before a heading", Wanted(mentions=("al",)), "# Hi", BARE, (), [Post("al:\n\n# Hi")]),
    ("buttons", Wanted(choices=YES_NO), "Go?", FULL, (), [Post("Go?", choices=YES_NO)]),
    (
        "buttons below a long text",
        Wanted(choices=YES_NO),
        "hello there",
        FULL,
        (),
        [Post("hello"), Post("there", choices=YES_NO)],
    ),
    ("no buttons", Wanted(choices=YES_NO), "Go?", BARE, (), [Post("Go?\n\nAnswer 1 (yes) or 2 (no).")]),
    (
        "too many for buttons",
        Wanted(choices=("a_b", "<c>", "d")),
        "Go?",
        replace(FULL, size=0),
        (),
        [Post(r"Go?" "\n\n" r"Answer 1 (a\_b), 2 (&lt;c&gt;) or 3 (d).")],
    ),
    ("one choice", Wanted(choices=("ok",)), "Go?", BARE, (), [Post("Go?\n\nAnswer 1 (ok).")]),
    ("choices that are numbers", Wanted(choices=("2", "4")), "Go?", BARE, (), [Post("Go?\n\nAnswer 2 or 4.")]),
    ("an edit", Wanted(Kind.EDIT), "new", FULL, [ONE], [Edit(ONE, "new")]),
    (
        "an edit of two parts",
        Wanted(Kind.EDIT),
        "hello there you",
        FULL,
        [ONE, TWO],
        [Edit(ONE, "hello"), Edit(TWO, "there you")],
    ),
    (
        "an edit that is longer",
        Wanted(Kind.EDIT),
        "hello there you",
        FULL,
        [ONE],
        [Edit(ONE, "hello"), Post("there you", "t")],
    ),
    ("an edit that is shorter", Wanted(Kind.EDIT), "new", FULL, [ONE, TWO], [Edit(ONE, "new"), Delete(TWO)]),
    (
        "shorter, no deletions",
        Wanted(Kind.EDIT),
        "new",
        replace(FULL, deletions=False),
        [ONE, TWO],
        [Edit(ONE, "new"), Edit(TWO, "…")],
    ),
    (
        "edits are smaller",
        Wanted(Kind.EDIT),
        "one two",
        replace(FULL, edit_size=3),
        [ONE],
        [Edit(ONE, "one"), Post("two", "t")],
    ),
    ("an edit that mentions", Wanted(Kind.EDIT, mentions=("al",)), "al", FULL, [ONE], [Edit(ONE, "al", ("al",))]),
    ("no edits", Wanted(Kind.EDIT), "new", replace(FULL, edits=False, size=0), [ONE], [Post("(corrected) new")]),
    ("an edit of what is unknown", Wanted(Kind.EDIT), "new", replace(FULL, size=0), (), [Post("(corrected) new")]),
    ("an edited heading", Wanted(Kind.EDIT), "# new", BARE, (), [Post("(corrected)\n\n# new")]),
    ("a deletion", Wanted(Kind.DELETE), "", FULL, [ONE, TWO], [Delete(ONE), Delete(TWO)]),
    (
        "no deletions",
        Wanted(Kind.DELETE),
        "",
        replace(FULL, deletions=False),
        [ONE, TWO],
        [Edit(ONE, "(withdrawn)"), Edit(TWO, "…")],
    ),
    ("neither", Wanted(Kind.DELETE), "", BARE, [ONE], "the network can't delete the message"),
    ("a deletion of what is unknown", Wanted(Kind.DELETE), "", FULL, (), "the id of the message isn't known"),
    ("a reaction", Wanted(Kind.REACT, emoji=THUMB), "al: 👍", FULL, [ONE], [React(ONE, THUMB)]),
    ("a reaction is taken back", Wanted(Kind.UNREACT, emoji=THUMB), "al: 👍", FULL, [ONE], [React(ONE, THUMB, True)]),
    ("no reactions", Wanted(Kind.REACT, emoji=THUMB), "al: 👍", BARE, [ONE], [Post("al: 👍")]),
    (
        "an emoji that it hasn't",
        Wanted(Kind.REACT, emoji=THUMB),
        "al: 👍",
        replace(FULL, emoji=frozenset("❤")),
        [ONE],
        [Post("al: 👍")],
    ),
    ("to what is unknown", Wanted(Kind.REACT, emoji=THUMB), "al: 👍", FULL, (), [Post("al: 👍")]),
    ("to the bot's own message", Wanted(Kind.REACT, emoji=THUMB), "", BARE, (), []),
    ("a text isn't taken back", Wanted(Kind.UNREACT, emoji=THUMB), "al: 👍", BARE, [ONE], []),
    ("a link to a file", Wanted(Kind.FILE, file="a.txt"), "http://x/a", BARE, (), [Post("http://x/a")]),
)

FILES: Sequence[tuple[str, str, Features, bytes, Sequence[Operation] | str]] = (
    ("a file", "", FULL, b"\0\1", [Upload("a.log", "text/plain", b"\0\1", "t")]),
    ("an empty file", "", FULL, b"", [Upload("a.log", "text/plain", b"", "t")]),
    ("with a text", "Look", FULL, b"x", [Post("Look", "t"), Upload("a.log", "text/plain", b"x", "t")]),
    ("no files, small text", "", BARE, "é\n".encode(), [Post("a.log:\n\n```\né\n```")]),
    ("no files, with a text", "Look", BARE, b"x", [Post("Look\n\na.log:\n\n```\nx\n```")]),
    ("fences in the file", "", BARE, b"```\nx", [Post("a.log:\n\n````\n```\nx\n````")]),
    ("no files, large text", "", BARE, b"x" * 2001, "a.log is no text of at most 2000 bytes"),
    ("no files, no text", "", BARE, b"\0", "a.log is no text"),
    ("no files, no UTF-8", "", BARE, b"\xff", "a.log is no text"),
)


class FallbackTests(SynchronousTestCase):
    """The operations for what is wanted."""

    def test_table(self) -> None:
        """Each row of the table holds."""
        for name, wanted, body, features, known, expected in TABLE:
            self.check(name, wanted, body, features, known, b"", expected)

    def test_files(self) -> None:
        """Files are sent, or shown as text."""
        wanted = Wanted(Kind.FILE, file="a.log", type="text/plain", thread="t")
        for name, body, features, content, expected in FILES:
            self.check(name, wanted, body, features, (), content, expected)

    def check(
        self,
        name: str,
        wanted: Wanted,
        body: str,
        features: Features,
        known: Sequence[MessageRef],
        content: bytes,
        expected: Sequence[Operation] | str,
    ) -> None:
        """Assert the operations, or the text of Unsupported."""
        try:
            made: Sequence[Operation] | str = list(operations(wanted, body, features, known, split_rendered, content))
        except Unsupported as error:
            made = str(error)
        if isinstance(expected, str):
            self.assertIn(expected, made, name)
        else:
            self.assertEqual(made, expected, name)


class ChosenTests(SynchronousTestCase):
    """The choices that texts name."""

    def test_table(self) -> None:
        """A choice is named by its number, or by its label in any case; labels that are numbers have no other numbers."""
        for text, choices, expected in (
            ("1", YES_NO, 0),
            (" 2 ", YES_NO, 1),
            ("YES", YES_NO, 0),
            ("not  now", ("now", "Not now"), 1),
            ("3", YES_NO, None),
            ("0", YES_NO, None),
            ("yes please", YES_NO, None),
            ("", YES_NO, None),
            ("2", ("2", "4"), 0),
            ("1", ("2", "4"), None),
        ):
            self.assertEqual(chosen(text, choices), expected, (text, choices))


class OnePlaceTests(SynchronousTestCase):
    """What a network can do is asked in one module."""

    def test_nobody_else_asks(self) -> None:
        """A field of Features is read in `chat.features`, and for names that notify people in webhooks of rooms."""
        fields = "|".join(Features.__dataclass_fields__)
        asking = re.compile(rf"features(?:\([^()]*\))?\.(?:{fields})\b")
        package = Path(errklein.__file__).parent
        found = {
            str(path.relative_to(package)): set(names)
            for path in package.rglob("*.py")
            if (names := asking.findall(path.read_text()))
        }
        self.assertTrue(found.pop("chat/features.py"))
        # The contract of networks tests each by what it can do.
        self.assertTrue(found.pop("testing/backend_contract.py"))
        asked = {(module, name.rpartition(".")[2]) for module, names in found.items() for name in names}
        allowed = {("bot/room_webhooks.py", "highlights_names"), ("networks/outbox/_lanes.py", "size")}
        self.assertEqual(asked - allowed, set())
