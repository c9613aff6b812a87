"""The look of the console: what holds on each page, and its style."""

from __future__ import annotations

import os
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from errklein import BotPlugin, console, webhook
from errklein.verify import bearer
from errklein.webhooks.deliveries import Total
from tests.console.kit import ConsoleCase
from tests.processes import ROOT

FOLDER = Path(console.__file__).parent
CSS = (FOLDER / "static" / "style.css").read_text("utf-8")
TEMPLATES = {path.name: path.read_text("utf-8") for path in (FOLDER / "templates").iterdir()}

HOSTILE = ("<b>x</b>", "'\"><i>", "{{ 1 }}", "a\r\nb", "\0\x1b[1m", "\u202egro", "\ud800", "x" * 3000)
"""Texts that others may send."""

ON_PAGES = ("text", "quiet", "link", "good", "wait", "bad")
"""The colors of texts on pages and cards."""

_WITHOUT_END = ("input", "link", "meta", "br", "hr", "rect", "line", "img", "option")


def luminance(color: str) -> float:
    """Return the relative luminance of a color such as "#1b1f24", as WCAG 2.2 defines it."""
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colors, from 1 to 21."""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


class Checked(HTMLParser):
    """The errors of a page, and its links.

    :ivar errors: What is wrong on it.
    :ivar links: The addresses to which it leads.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.errors: list[str] = []
        self.links: set[str] = set()
        self.ids: Counter[str] = Counter()
        self._open: list[str] = []
        self._level = 0
        self._named = ""  # what the open button, link or heading is called
        self._tables: list[bool] = []
        self.feed(text)
        self.close()
        self.errors += [f"the id {name} is there twice" for name, number in self.ids.items() if number > 1]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Check the beginning of an element. Called by HTMLParser."""
        given = dict(attrs)
        for name, value in attrs:
            if name == "style" or name.startswith("on") or (value or "").lower().startswith("javascript:"):
                self.errors.append(f"<{tag} {name}={value}> is inline code")
        if (tag == "script" and not given.get("src")) or tag == "style":
            self.errors.append(f"<{tag}> is inline code")
        if tag in ("input", "select", "textarea") and given.get("type") != "hidden" and "label" not in self._open:
            self.errors.append(f"<{tag} {given}> has no label")
        if tag == "th" and given.get("scope") not in ("col", "row"):
            self.errors.append("a heading of a table has no scope")
        if tag == "svg" and not (given.get("role") == "img" and given.get("aria-label")):
            self.errors.append("a picture has no description")
        if tag == "a" and "href" in given:
            self.links.add(given["href"] or "")
        if re.fullmatch(r"h[1-6]", tag):
            if int(tag[1]) > self._level + 1 or (tag == "h1" and self._level):
                self.errors.append(f"<{tag}> comes after <h{self._level}>")
            self._level = int(tag[1])
        if tag == "table":
            self._tables.append(False)
        if tag == "caption" and self._tables:
            self._tables[-1] = True
        if tag in ("a", "button", "summary", "caption", "h1", "h2"):
            self._named = given.get("aria-label") or ""
        if "id" in given:
            self.ids[given["id"] or ""] += 1
        if tag not in _WITHOUT_END:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Check an element without content. Called by HTMLParser."""
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        """Check the end of an element. Called by HTMLParser."""
        if tag in _WITHOUT_END:
            return
        if not self._open or self._open.pop() != tag:
            self.errors.append(f"</{tag}> ends another element")
        if tag in ("a", "button", "summary", "caption", "h1", "h2") and not self._named.strip():
            self.errors.append(f"<{tag}> has no text")
        if tag == "table" and not self._tables.pop():
            self.errors.append("a table has no caption")

    def handle_data(self, data: str) -> None:
        """Note the text of an element. Called by HTMLParser."""
        self._named += data

    def close(self) -> None:
        """Check that there is one heading of the page, and that all elements have ended."""
        super().close()
        if self._open or not self._level:
            self.errors.append(f"the page has no heading, or {self._open} haven't ended")


class Shop(BotPlugin):
    """Has webhooks that fail, refuse, and succeed."""

    @webhook("/order", ack="now", attempts=1)
    def order(self, payload: Any) -> None:
        raise ValueError("no stock")

    @webhook("/bill", verify=bearer(secret="env:TEST_LOOK_SECRET"))
    def bill(self, payload: Any) -> None:
        pass

    @webhook("/sign")
    def sign(self, payload: Any) -> None:
        pass


class PageTests(ConsoleCase):
    """What holds on each page."""

    plugins = (Shop,)

    def setUp(self) -> None:
        """Let the bot fail, refuse and succeed."""
        self.patch(os, "environ", {**os.environ, "TEST_LOOK_SECRET": "one-of-sixteen-characters"})
        super().setUp()
        self.bot.command("!plugin config Webserver {'HOST': '127.0.0.1', 'PORT': 3141}")
        for name in HOSTILE[:5]:
            for path in ("/order", "/bill", "/sign"):
                self.bot.post(path, json={"name": name}, headers={"X-Name": "a<b>'\""})
                self.bot.advance(1)
        self.flushLoggedErrors(ValueError)

    def test_pages(self) -> None:
        """Each page has a heading, labels, captions and names, and no inline style or script. Links lead to pages."""
        browser, seen, left = self.enter(), dict[str, list[str]](), {"/"}
        while left:
            path = left.pop()
            browser.get(path)
            self.assertEqual(browser.status, 200, f"{path}: {browser.text}")
            if "text/html" not in browser.headers.getRawHeaders("content-type")[0]:
                continue
            page = Checked(browser.text)
            # One page of each kind is enough: those of numbers and names differ in their values.
            kind = re.sub(r"\d+", "1", path.partition("?")[0])
            seen[kind] = page.errors
            left |= {
                link
                for link in page.links
                if link.startswith("/") and re.sub(r"\d+", "1", link.partition("?")[0]) not in seen
            }
        self.assertGreater(len(seen), 2)
        self.assertEqual({path: errors for path, errors in seen.items() if errors}, {})

    def test_errors(self) -> None:
        """Pages about errors, and the one with the button to enter, are like the others."""
        browser = self.enter()
        for path, status in (("/deliveries/999999", 404), ("/none", 404), (self.link(), 200)):
            browser.get(path)
            self.assertEqual((browser.status, Checked(browser.text).errors), (status, []), browser.text)

    def test_current_page(self) -> None:
        """The navigation says on which page somebody is."""
        browser = self.enter()
        self.assertIn('<a href="/" aria-current="page">Overview</a>', browser.text)
        self.assertIn('<a href="/deliveries" aria-current="page">Deliveries</a>', browser.get("/deliveries?words=dead"))

    def test_guide(self) -> None:
        """The guide has a row for each page of the navigation, in its order."""
        guide = (ROOT / "docs" / "guides" / "console.md").read_text("utf-8")
        rows = re.findall(r"^\| (\w+) \|", guide.partition("## Pages")[2].partition("\n## ")[0], re.MULTILINE)
        navigation = self.enter().text.partition("<nav")[2].partition("</nav>")[0]
        self.assertEqual([row for row in rows if row != "page"], re.findall(r"<a [^>]*>([^<]*)</a>", navigation))


class MacroTests(ConsoleCase):
    """The parts of which pages are made."""

    def render(self, text: str, **values: Any) -> str:
        """Return a template that uses the macros, as HTML."""
        made = self.server.templates.from_string(text)
        return made.render(values)

    def test_escaped(self) -> None:
        """What is shown is escaped."""
        template = (
            "{{ state(x) }}{{ link(x, x) }}{{ field(x, x, x, x, x, [x], placeholder=x) }}{{ field(x, x, x, 'area') }}"
            "{{ plot([], x, x) }}{% call table(x, [x, x]) %}{{ row([x, x], [x, x], x) }}{% endcall %}"
        )
        for text in HOSTILE:
            found = self.render(template, x=f"<script>\"'{text}")
            self.assertNotIn("<script", found)
            self.assertEqual(len(re.findall("<table", found)), 2)

    def test_times(self) -> None:
        """Times are shown with their zone. There is none for 0."""
        self.assertRegex(
            self.render("{{ times(86400.5) }}"),
            r'<time datetime="[-+:\dT]{25}"><span>19[-: \d]{17}</span> <small>[-+]\d\d:\d\d<',
        )
        self.assertEqual(self.render("{{ times(0) }}"), "")

    def test_plot(self) -> None:
        """A plot has a bar for each number, a summary for those who can't see it, and the numbers as a table."""
        totals = [Total(3600.0 * hour, 4 * hour, hour % 2, 0, hour, 0, hour % 3) for hour in range(24)]
        found = self.render("{{ plot(totals, 'The last day', 'hour') }}", totals=totals)
        self.assertIn('aria-label="The last day: 1,380 accepted, 12 refused, 24 failed or dead', found)
        heights = [float(one) for one in re.findall(r'class="accepted".*? height="([\d.]+)"', found)]
        self.assertEqual(len(heights), 23)
        self.assertEqual(sorted(heights), heights)
        self.assertEqual((found.count('rect class="refused"'), found.count('rect class="failed"')), (12, 16))
        places = re.findall(r'y="([\d.]+)" width="[\d.]+" height="([\d.]+)"', found)
        self.assertLessEqual(max(float(top) + float(height) for top, height in places), 120)
        self.assertEqual(found.count('scope="row"'), 23)
        self.assertNotIn("e-", "".join(sum(places, ())))

    def test_empty_plot(self) -> None:
        """A plot without requests is a line."""
        found = self.render("{{ plot(totals, 'The last hour', 'minute') }}", totals=[Total(0.0)] * 60)
        self.assertNotIn("<rect", found)
        self.assertIn("0 accepted", found)

    def test_cards(self) -> None:
        """Each cell has its heading, which phones show before it."""
        template = "{% call table('Plugins', heads) %}{{ row(heads, ['Shop', 1234]) }}{% endcall %}"
        found = self.render(template, heads=["Name", "Errors"])
        self.assertIn('<th scope="row" role="rowheader" data-head="Name">Shop</th>', found)
        self.assertIn('<td role="cell" data-head="Errors" class="number">1,234</td>', found)


class StyleTests(SynchronousTestCase):
    """The style, the templates, and the script."""

    def test_contrast(self) -> None:
        """Texts have a contrast of 4.5 to what they are on, and edges of 3, light and dark."""
        colors = {name: pair for name, *pair in re.findall(r"--([\w-]+): light-dark\((#\w{6}), (#\w{6})\)", CSS)}
        pairs = [(name, on, 4.5) for name in ON_PAGES for on in ("page", "card")]
        pairs += [("on-button", "button", 4.5), *(("edge", on, 3.0) for on in ("page", "card"))]
        for which in (0, 1):
            for name, on, least in pairs:
                with self.subTest(name=name, on=on, which=which):
                    self.assertGreaterEqual(contrast(colors[name][which], colors[on][which]), least, f"{name} on {on}")
        self.assertEqual(round(contrast("#000000", "#ffffff"), 3), 21)
        # No color is outside of the table.
        self.assertEqual(len(re.findall(r"#[0-9a-f]{3,8}\b|rgb|hsl", CSS)), 2 * len(colors))

    def test_focus(self) -> None:
        """The focus of the keyboard is seen."""
        self.assertIn(":focus-visible { outline: 3px", CSS)
        self.assertNotIn("outline: none", CSS)
        self.assertNotIn("outline: 0", CSS)

    def test_classes(self) -> None:
        """Classes of the templates are those of the style, apart from `{{ … }}`."""
        used = {
            name
            for text in TEMPLATES.values()
            for given in re.findall(r'class="([^"]*)"', re.sub(r"{{.*?}}|{%.*?%}", " ", text))
            for name in given.split()
        }
        self.assertEqual(used - set(re.findall(r"\.([a-z][\w-]*)", CSS)), set())

    def test_sizes(self) -> None:
        """The style, the script, and the templates stay small."""
        script = (FOLDER / "static" / "live.js").read_text("utf-8")
        self.assertLessEqual(CSS.count("\n"), 150)
        self.assertLessEqual(script.count("\n"), 60)
        self.assertLessEqual(sum(text.count("\n") for text in TEMPLATES.values()), 350)

    def test_nothing_unescaped(self) -> None:
        """Templates neither mark texts as safe nor have styles or scripts."""
        for name, text in TEMPLATES.items():
            self.assertEqual(re.findall(r"\|\s*safe|autoescape|Markup|style=|\son\w+=|javascript:", text), [], name)
            # Attributes are in quotes, so that a value can't add another one.
            self.assertEqual(re.findall(r"\s[\w-]+=\{\{", text), [], name)
