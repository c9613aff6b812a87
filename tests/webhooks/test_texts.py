"""Texts of messages with placeholders, and values that have no effect in them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from errklein.text import to_irc
from errklein.text.neutralising import ZERO_WIDTH_SPACE
from errklein.webhooks.option_values import InvalidOption
from errklein.webhooks.source import (
    ADDRESS_CAP,
    FILTERS,
    LENGTH_CAP,
    PLACEHOLDERS_CAP,
    VALUE_CAP,
    Markdown,
    check_text,
    message,
    render,
    value,
)

PAGES = Path(__file__).parents[2] / "docs"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
VALUES: dict[str, Any] = {
    "user": "alice",
    "number": 5,
    "url": "https://ci.example.org/a_b?x=1&y=2#f",
    "empty": None,
    "list": ["x", "y", True, {}],
    "labels": {"app.kubernetes.io/name": "web", "0": "zero"},
    "commits": [{"message": "one\ntwo"}, {"message": "last"}],
    "sha": COMMIT,
}


class RenderTests(SynchronousTestCase):
    """`render`."""

    def check(self, text: str, expected: str) -> None:
        check_text(text)
        self.assertEqual(render(text, VALUES), expected, text)

    def test_paths(self) -> None:
        """A path goes through mappings and lists; brackets hold keys with dots."""
        self.check("{user} {commits.0.message|line} {commits.-1.message}", "alice one last")
        self.check("{labels[app.kubernetes.io/name]} {labels.0}", "web zero")
        self.check("{commits.7.message} {user.name} {list.x} {number.0}", "")

    def test_alternatives(self) -> None:
        """The first alternative with a text is shown; a text in quotes is one."""
        self.check("{empty or labels or user}", "alice")
        self.check("{empty or 'some one'|title}", "Some One")
        self.check('{empty or "it\'s"}', "it's")

    def test_braces(self) -> None:
        """Two braces are one."""
        self.check("{{user}} {user}", "{user} alice")

    def test_kinds_of_values(self) -> None:
        """Numbers and lists of scalars are shown; null, booleans, mappings and infinite numbers aren't."""
        shown = {"a": 97.0, "b": 0.1, "c": 10**400, "d": True, "e": {}, "f": float("nan"), "g": ["x", "y", True, {}, 3]}
        self.assertEqual(render("{a}|{b}|{c}|{d}|{e}|{f}|{g}", shown), "97|0\\.1|x, y, 3")
        self.assertEqual(value(list(range(100))), "0, 1, 2, 3, 4")

    def test_lines_without_values_are_left_out(self) -> None:
        """A line whose placeholders are all empty is left out; text without placeholders stays."""
        self.check("Build:\n{empty}: {empty}\n{user}", "Build:\nalice")

    def test_separators_beside_empty_values_are_left_out(self) -> None:
        """So are brackets, emphasis and separators that belong to an empty value."""
        self.check("{user} ({empty}) {number}", "alice 5")
        self.check("{user}#{empty} opened", "alice opened")
        self.check("#{empty} {user}", "alice")
        self.check("- {empty}: {user}", "- alice")
        self.check("- {user}: {empty}", "- alice")
        self.check("({empty}, {user}) ({user}, {empty})", "(alice) (alice)")
        self.check("**{empty} {empty}** {user}", "alice")
        self.check("**{empty}:** {user}", "alice")
        self.check("**{user}: {empty}**", "**alice**")
        self.check("{user}, {empty}, {number}", "alice, 5")
        self.check("by {empty}/{user}", "by alice")
        self.check("**Commits**: {user}:", "**Commits**: alice:")

    def test_links(self) -> None:
        """A placeholder between `](` and `)` is an address. Without one, the label is shown if it has a value."""
        self.check("[#{number}]({url})", "[#5](https://ci.example.org/a_b?x=1&y=2#f)")
        self.check("[{user}]({empty or url})", "[alice](https://ci.example.org/a_b?x=1&y=2#f)")
        self.check("[{user}]({empty}) [Open]({empty})", "alice")
        self.check("[{empty}]({url})", "<https://ci.example.org/a_b?x=1&y=2#f>")
        self.check(
            "[{sha|short}](https://ci.example.org/{user}/{sha})", f"[0123456](https://ci.example.org/alice/{COMMIT})"
        )
        self.check("[x](https://{user}{number}.example.org/)", "[x](https://alice5.example.org/)")
        self.check("[{user}](/x) [{empty}](/x) {user} [x](/y)", "[alice](/x) alice [x](/y)")
        self.check("[#{number} x]({empty})", "\\#5 x")
        self.check("[{user}]: {number} [x]", "[alice&#93;: 5 [x]")
        self.check("{url|link}", "<https://ci.example.org/a_b?x=1&y=2#f>")

    def test_addresses_that_are_not_linked(self) -> None:
        """Other schemes than http and https, and long addresses, make no link."""
        for url in (
            "javascript:alert(1)",
            "ftp://x/",
            "//x/",
            "/x",
            "https:///x",
            "https://h/" + "a" * 500,
            5,
            ["https://h/"],
        ):
            self.assertEqual(
                render("[open {user}]({url})", {"user": "a", "url": url}),
                "open a" if url != ["https://h/"] else "[open a](https://h/)",
            )

    def test_characters_of_addresses(self) -> None:
        """What could end an address or be a mention in it is percent-encoded."""
        shown = render("[x]({url})", {"url": "https://h/@all) **b** <a>\n[y](//z) \ud800&copy;"})
        self.assertEqual(
            shown, "[x](https://h/%40all%29%20%2A%2Ab%2A%2A%20%3Ca%3E%0A%5By%5D%28//z%29%20%EF%BF%BD&amp;copy;)"
        )

    def test_filters(self) -> None:
        """Filters change the text of a value."""
        self.check("{user|title} {user|upper} {user|upper|lower}", "Alice ALICE alice")
        self.check("{sha|short} {commits|count} {labels|count} {user|count}", "0123456 2 2")
        self.assertEqual(render("{a|short}", {"a": "x" * 100}), "x" * 60 + "…")

    def test_dates(self) -> None:
        """Dates are shown in UTC; other texts as they are."""
        texts = (
            "2024-01-02T03:04:05+01:00",
            "2024-01-02T03:04:05Z",
            1700000000,
            1700000000000,
            "0001-01-01T00:00:00Z",
            "soon",
            1e300,
        )
        shown = [render("{a|date}", {"a": text}) for text in texts]
        dates = [
            "2024-01-02 02:04 UTC",
            "2024-01-02 03:04 UTC",
            "2023-11-14 22:13 UTC",
            "2023-11-14 22:13 UTC",
            "",
            "soon",
        ]
        self.assertEqual(shown[:6], dates)

    def test_code(self) -> None:
        """A value in backticks can't end the code, and shows no escapes."""
        self.assertEqual(render("`{a}`", {"a": "[x] `y` @bob"}), f"`` [x] `y` @{ZERO_WIDTH_SPACE}bob ``")
        self.assertEqual(render("` `{a}`", {"a": "*b*"}), "` `\\*b\\*`")

    def test_markdown_of_code(self) -> None:
        """Markdown that a source made is shown as it is."""
        self.assertEqual(render("{body}", {"body": Markdown("**a**\n[b](https://c)")}), "**a**\n[b](https://c)")

    def test_invalid_texts(self) -> None:
        """An invalid text is an error that says what is expected."""
        invalid = (
            "[x]({a}",
            "{a}" + "x" * 1_000 + "{",
            "{" + "x " * 500 + "}",
            "{",
            "{a",
            "{}",
            "{a or }",
            "{a b}",
            "{a.}",
            "{a|}",
            "{a|nothing}",
            "{a|title|}",
            "{a" + "|title" * 6 + "}",
            "x" * 2_001,
            "{a}" * 101,
        )
        for text in invalid:
            error = str(self.assertRaises(InvalidOption, check_text, text))
            self.assertRegex(error, "^expected .{1,200}$")
        check_text("{a|" + "|".join(["title"] * 5) + "} } x" + "{a}" * 99)


class ValueTests(SynchronousTestCase):
    """`value`."""

    def test_literal(self) -> None:
        """A value is shown literally on one line, without effect on people, and without addresses."""
        shown = value("**b** [x](http://evil) @bob\n# y")
        space = ZERO_WIDTH_SPACE
        self.assertEqual(shown, rf"\*\*b\*\* \[x\](http:{space}//evil) @{space}bob \# y")

    def test_definition_of_a_link(self) -> None:
        """A value in a label doesn't define the address of the label."""
        self.assertEqual(value("a]: b"), "a&#93;: b")
        self.assertEqual(value("a]"), "a&#93;")

    def test_addresses_in_two_values(self) -> None:
        """Neither do two values with a separator between them."""
        shown = render("{a}/{b} {c}.{b} {a}{b} {d}:{b}", {"a": "https:/", "b": "evil.com", "c": "www", "d": "mailto"})
        for address in ("https://", "www.", "mailto:"):
            self.assertNotIn(address, shown)

    def test_length(self) -> None:
        """A long value is cut."""
        self.assertEqual(value("x" * 1_000_000), "x" * 200 + "…")


class MessageTests(SynchronousTestCase):
    """`message`."""

    def test_lines(self) -> None:
        """A message has a maximum number of lines, of which the last one says how many are missing."""
        lines = [Markdown("a\n\nb "), Markdown(""), Markdown("c")]
        self.assertEqual(message(lines, 3), "a\nb\nc")
        self.assertEqual(message(lines, 2), "a\n… and 2 more lines")
        self.assertEqual(message([Markdown(" \n")], 2), "")

    def test_length(self) -> None:
        """A message has a maximum length."""
        self.assertEqual(message([Markdown("a" * 2_000)] * 3, 10), "a" * 2_000 + "\n… and 2 more lines")
        self.assertLessEqual(len(message([Markdown("@all" * 2_000)], 10)), 4_000)

    def test_code_block(self) -> None:
        """A block of code that is cut is closed, within the maximum number of lines."""
        self.assertEqual(message([Markdown("```\na\nb\nc\n```")], 4), "```\na\n```\n… and 3 more lines")

    def test_mentions(self) -> None:
        """No text of a message mentions anybody, whoever wrote it."""
        self.assertEqual(
            message([Markdown("@all, @bob <!here> a@b.org")], 3), "@\u200ball, @\u200bbob <!\u200bhere> a@b.org"
        )


class PageTests(SynchronousTestCase):
    """docs/reference/webhook-texts.md."""

    def test_examples(self) -> None:
        """The texts in its tables give the messages beside them."""
        page = (PAGES / "reference" / "webhook-texts.md").read_text(encoding="utf-8")
        payload = json.loads(page.partition("<!-- payload -->\n```json\n")[2].partition("```")[0])
        tables = [part.partition("\n\n")[0] for part in page.split("<!-- examples -->\n")[1:]]
        rows = [re.split(r"(?<!\\) ?\| ?", row)[1:3] for table in tables for row in table.splitlines()[2:]]
        self.assertGreater(len(rows), 20)
        for text, shown in rows:
            text = text.strip("`").replace("\\|", "|")
            self.assertEqual(to_irc(message([render(text, payload)], 10)), shown.lstrip("\\"), text)

    def test_limits(self) -> None:
        """Its limits are those of the code, and it lists each filter."""
        page = (PAGES / "reference" / "webhook-texts.md").read_text(encoding="utf-8")
        for limit in (f"{LENGTH_CAP:,} characters, {PLACEHOLDERS_CAP}", f"{VALUE_CAP} ch", f"{ADDRESS_CAP} ch"):
            self.assertIn(limit, page)
        self.assertEqual(set(re.findall(r"\\\|([a-z]+)\}", page)), set(FILTERS))
