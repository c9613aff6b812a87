"""Old addresses of the documentation's site lead to pages and headings that exist."""

from __future__ import annotations

import json
import re

from twisted.trial.unittest import SynchronousTestCase

from tests.processes import ROOT
from tests.test_examples import load
from tests.test_pages import TEXTS, headings

redirects = load(ROOT / "docs" / "site_redirects.py")


def text_of(path: str) -> str | None:
    """Return the text of the page with this path below docs/, without the ending."""
    return TEXTS.get(f"docs/{path}.md")


class RedirectTests(SynchronousTestCase):
    """The table of old addresses in docs/site_redirects.py."""

    def test_targets_exist(self) -> None:
        """Each address leads to a page and a heading that are there."""
        self.assertGreater(len(redirects.MOVED), 20)
        for old, new in redirects.MOVED.items():
            path, _, anchor = new.partition("#")
            text = text_of(path)
            self.assertIsNotNone(text, f"{old} leads to {new}, but there is no docs/{path}.md")
            if text is not None and anchor:
                self.assertIn(anchor, headings(text), f"{old} leads to {new}, but the page has no such heading")

    def test_old_addresses_are_free(self) -> None:
        """No page or heading is hidden by a redirect."""
        for old in redirects.MOVED:
            path, _, anchor = old.partition("#")
            text = text_of(path)
            if anchor:
                self.assertNotIn(anchor, headings(text or ""), f"{old} is still there")
                self.assertTrue(text is not None or path in redirects.MOVED, f"{old}: {path} has no line of its own")
            else:
                self.assertIsNone(text, f"docs/{old}.md is still there")

    def test_pages_that_had_names(self) -> None:
        """The pages whose names of the API have moved are pages, or lead to one."""
        for page in redirects.HAD_NAMES:
            self.assertTrue(text_of(page) is not None or page in redirects.MOVED, page)

    def test_links(self) -> None:
        """A link is relative to the old address, so that the site may have any address."""
        self.assertEqual(redirects.link("guides/service", "operators"), "guides/service.html")
        self.assertEqual(redirects.link("guides/logs#rotate", "guides/old"), "logs.html#rotate")
        self.assertEqual(redirects.link("reference/api", "reference/api/plugins"), "../api.html")

    def test_names_of_the_api(self) -> None:
        """From the address of a page that had it, a name leads to the page that has it; the names of that page stay."""
        names = {"errklein.webhook": "reference/api/decorators", "errklein.testing.Sent": "reference/api/testing"}
        links = redirects.anchors("reference/api/testing", {}, names)
        self.assertEqual(links, {"errklein.webhook": "decorators.html#errklein.webhook"})
        self.assertEqual(redirects.anchors("guides/service", {}, names), {})

    def test_sections(self) -> None:
        """The sections of a page lead to where they are now, and those of other pages aren't its own."""
        moved = {"guides/old#b": "guides/new#c", "guides/older#d": "guides/new", "guides/old": "guides/new"}
        self.assertEqual(redirects.anchors("guides/old", moved, {}), {"b": "new.html#c"})

    def test_spellings(self) -> None:
        """The anchor of a heading is found as a code host has it, and as the site has it."""
        for host, site in (
            ("if-it-doesnt-start", "if-it-doesn-t-start"),
            ("50-b-of-json", "b-of-json"),
            ("a_b", "a-b"),
        ):
            self.assertEqual(redirects.plain(host), redirects.plain(site))

    def test_script(self) -> None:
        """The script of a page has its old anchors as JSON, which can't end the script."""
        text = redirects.script({"a</script>": "text.html", "decorators": "api/decorators.html"})
        self.assertNotIn("</", text)
        [links] = re.findall(r"new Map\((.*)\)\.get", text)
        self.assertEqual(json.loads(links), [["a</script>", "text.html"], ["decorators", "api/decorators.html"]])
