"""Pages can be read as plain Markdown on a code host: links have texts, and code stands in the page as in the tested file."""

from __future__ import annotations

import re

from twisted.trial.unittest import SynchronousTestCase

from tests.processes import ROOT
from tests.test_examples import load

refresh = load(ROOT / "docs" / "refresh.py")
TEXTS = {str(page.relative_to(ROOT)): page.read_text("utf-8") for page in refresh.pages()}


LONG = {
    "docs/design.md": "the reference for contributors, who search one page for the parts and their reasons",
    "docs/guides/write-a-network.md": "all that an author of a network implements, in the order of the class",
    "docs/measurements.md": "tables that the benchmarks write, and what their columns mean",
    "docs/reference/chat-commands.md": "a list of all commands",
    "docs/reference/command-line.md": "a list of all commands and options",
    "docs/reference/errbot.md": "a list of all differences, in which a person with a plugin searches for a name",
    "docs/reference/faults.md": "a list of all faults, each with its tests",
    "docs/reference/limits.md": "a list of all limits",
    "docs/reference/public-plugins.md": "a table of the plugins that were tried",
    "docs/reference/settings.md": "a list of all settings",
    "docs/reference/troubleshooting.md": "a list of messages, in which an operator searches for the one that has appeared",
    "docs/reference/webhooks.md": "the rules of requests and responses, which refer to each other",
}
"""The pages that may have more than 2,000 words, each with the reason. One page can be searched; a guide is split by purpose."""


EXPLAINED = {
    "reactor": "where-code-runs.md",
    "Deferreds?": "where-code-runs.md",
    "HMAC": "verification.md",
    "endpoints?": "web-server.md",
}
"""Words that not all readers know, with the pages that explain them."""


FENCED = re.compile(r"^ *(`{3,}).*?^ *\1$", re.MULTILINE | re.DOTALL)


def headings(text: str) -> list[str]:
    """Return the anchors of a page's headings."""
    shown = [re.sub(r"\[(.*?)\]\(.*?\)", r"\1", title) for title in re.findall(r"(?m)^#+ (.*)$", FENCED.sub("", text))]
    return [re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-") for title in shown]


def prose(text: str) -> list[str]:
    """Return the lines of a page without headings, blocks and code."""
    return re.sub(r"<!--(?s:.*?)-->|(?m:^#.*$)|``.+?``|`[^`\n]+`", "", FENCED.sub("", text)).splitlines()


class PageTests(SynchronousTestCase):
    """The pages of the documentation, and README.md."""

    def test_code_is_that_of_the_files(self) -> None:
        """Each block with a mark has the code of the file; `python docs/refresh.py` copies it."""
        self.assertGreater(sum(len(refresh.BLOCK.findall(text)) for text in TEXTS.values()), 100)
        for name, text in TEXTS.items():
            self.assertEqual(refresh.refreshed(text), text, name)

    def test_every_mark_has_a_block(self) -> None:
        """Each mark stands in the line before a block."""
        for name, text in TEXTS.items():
            self.assertEqual(text.count("<!-- code:"), len(refresh.BLOCK.findall(text)), name)

    def test_python_is_tested(self) -> None:
        """No page has Python of its own."""
        for name, text in TEXTS.items():
            self.assertNotRegex(refresh.BLOCK.sub("", text), r"`{3,} ?(?:python|py)\b", name)

    def test_there_are_no_directives(self) -> None:
        """No page includes a file, or has another directive of Sphinx, since a code host shows the directive."""
        for name, text in TEXTS.items():
            self.assertNotRegex(text, r"(?m)^ *[`~:]{3,} ?\{", name)

    def test_links_have_texts(self) -> None:
        """Each link has a text, since a code host shows nothing for others."""
        for name, text in TEXTS.items():
            self.assertEqual(re.findall(r"(?<!!)\[\]\(.*?\)", text), [], name)

    def test_links_lead_somewhere(self) -> None:
        """Each link leads to a file in the repository, and to a heading in it, by the rules of a code host."""
        others = {name: (ROOT / name).read_text("utf-8") for name in ("CONTRIBUTING.md", "SECURITY.md")}
        for name, text in {**TEXTS, **others}.items():
            prose = re.sub(r"`[^`\n]++`", "", FENCED.sub("", text))
            for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", prose):
                path, _, anchor = target.partition("#")
                file = (ROOT / name).parent / path if path else ROOT / name
                self.assertTrue(file.exists(), f"{name}: {target}")
                if anchor:
                    self.assertIn(anchor, headings(file.read_text("utf-8")), f"{name}: {target}")

    def test_pages_are_short(self) -> None:
        """A page has one purpose and at most 2,000 words, or there is a reason for its length."""
        for name, text in TEXTS.items():
            self.assertTrue(len(text.split()) <= 2000 or name in LONG, f"{name}: split it, or give the reason in LONG")
        self.assertEqual(LONG.keys() - TEXTS.keys(), set())

    def test_figures_are_those_of_the_readme(self) -> None:
        """README.md and docs/performance.md compare errklein's speed by the same figures."""
        stated = re.findall(r"([\d.]+) and ([\d.]+) times as\s+many as (\w+)", TEXTS["README.md"])
        rows = re.findall(r"(?m)^\| (\w+)[^|]*\| ([\d.]+) \| ([\d.]+) \|$", TEXTS["docs/performance.md"])
        self.assertEqual(sorted((server, *figures) for *figures, server in stated), sorted(rows))
        self.assertEqual(len(rows), 3)

    def test_words_are_explained(self) -> None:
        """Where a page first uses a word that not all readers know, it links an explanation."""
        for name, text in TEXTS.items():
            # Pages for contributors, and lists that are generated.
            if re.search(r"README|design|benchmarks|measurements|optimization|glossary|/api/", name):
                continue
            for word, page in EXPLAINED.items():
                pattern = re.compile(rf"\b{word}\b")
                first = next((line for line in prose(text) if pattern.search(re.sub(r"\]\(.*?\)", "]", line))), "")
                linked = any(pattern.search(shown) for shown in re.findall(r"\[([^]]*)\]\(", first))
                self.assertTrue(not first or linked or page in f"{name} {first}", f"{name}: {first}")


class RefreshTests(SynchronousTestCase):
    """`python docs/refresh.py`."""

    def block(self, mark: str) -> str:
        """Return the code of an empty block with this mark, after the refresh."""
        before = f"Text.\n\n<!-- code: {mark} -->\n```python\n"
        after: str = refresh.refreshed(f"{before}```\n\nText.\n")
        return after.removeprefix(before).removesuffix("```\n\nText.\n")

    def test_file(self) -> None:
        """A mark with a path alone shows the whole file."""
        path = "docs/examples/webhooks/hello.py"
        self.assertEqual(self.block(path), (ROOT / path).read_text("utf-8"))

    def test_parts(self) -> None:
        """An object has its decorators and no indentation; lines are shown from the first to the last that are named."""
        path = "docs/examples/tutorial/builds/builds.py"
        method = '@botcmd\ndef build(self, message, args):\n    """Show the status of a project\'s last build: !build shop"""\n'
        self.assertEqual(self.block(f"{path} | object: Builds.build | before: return"), method)
        self.assertEqual(self.block(f"{path} | from: class Builds | to: class Builds"), "class Builds(BotPlugin):\n")

    def test_missing(self) -> None:
        """A missing file or line is an error."""
        self.assertRaises(OSError, self.block, "docs/examples/missing.py")
        self.assertRaises(ValueError, self.block, "docs/examples/webhooks/hello.py | from: missing")
