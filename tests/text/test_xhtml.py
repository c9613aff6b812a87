"""XHTML of untrusted Markdown."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein.text import to_xhtml
from errklein.text.xhtml import SCHEMES, unescape

TAGS = frozenset(
    {"a", "abbr", "blockquote", "br", "code", "dd", "div", "dl", "dt", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr"}
    | {"img", "li", "ol", "p", "pre", "strong", "sup", "table", "tbody", "td", "th", "thead", "tr", "ul"}
)

PIECES = (
    *("<", ">", "a", '"', "'", "[l](", ")", "javascript:", "http://h", "<script>", "{: ", "onx=1 }", "*", "&lt;", "`"),
    *("\n", "\n\n", "| ", "|-|\n", "![", "](", "style='x' }", "<a href=", "&#106;", "\\", "- "),
)


class Collector(HTMLParser):
    """Collects the tags and attributes of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Record a tag."""
        self.found.append((tag, dict(attrs)))


class XhtmlTests(SynchronousTestCase):
    """`to_xhtml`."""

    def test_styles(self) -> None:
        """Markdown Extra becomes XHTML."""
        self.assertEqual("<p><strong>b</strong> <em>i</em> <code>c</code></p>", to_xhtml("**b** *i* `c`"))
        self.assertEqual("<h1>T</h1>\n<ul>\n<li>a</li>\n</ul>", to_xhtml("# T\n- a"))
        self.assertEqual('<p><a href="http://h/?a=1&amp;b=2">l</a></p>', to_xhtml("[l](http://h/?a=1&b=2)"))
        self.assertEqual('<pre><code class="language-py">a &lt; b\n</code></pre>', to_xhtml("```py\na < b\n```"))
        self.assertEqual('<p><em color="red">r</em></p>', to_xhtml("*r*{: color='red' }"))
        self.assertIn("<td>a<br/>b</td>", to_xhtml("| h |\n|-|\n| a<br/>b |"))

    def test_code_blocks(self) -> None:
        """A code block has the language after its fence as class, and its text is escaped."""
        for info, attribute in (
            ("", ""),
            ("python", ' class="language-python"'),
            (" {.c++ #id}", ' class="language-c++"'),
            (' "x" <script>', ""),
        ):
            for fence in ("```", "~~~~"):
                page = to_xhtml(f"a\n\n{fence}{info}\n<b> &amp; \n\n  {{: id=x }}\n{fence}\n\nb")
                code = f"<pre><code{attribute}>&lt;b&gt; &amp;amp; \n\n  {{: id=x }}\n</code></pre>"
                self.assertEqual(page, f"<p>a</p>\n{code}\n<p>b</p>")
        self.assertEqual(to_xhtml("~~~~" + "\t" * 4000).split(), ["<p>~~~~", "</p>"])

    def test_tags_are_text(self) -> None:
        """Tags are shown as text, except line breaks; in code these are text too."""
        self.assertEqual("<p>&lt;b&gt;x&lt;/b&gt;</p>", to_xhtml("<b>x</b>"))
        self.assertEqual("<p>&lt;script&gt;alert(1)&lt;/script&gt;</p>", to_xhtml("<script>alert(1)</script>"))
        self.assertEqual("<p>a<br/>b <code>&lt;br/&gt;</code></p>", to_xhtml("a<br/>b `<br/>`"))

    def test_links_that_run_something(self) -> None:
        """A link or image with a scheme that isn't allowed has no address."""
        for address in ("javascript:x", "JavaScript:x", "&#106;avascript:x", "java&#x09;script:x", "data:text/html,x"):
            for markdown in (f"[l]({address})", f"![l]({address})", f"[l][1]\n\n[1]: {address}"):
                self.assertNotRegex(to_xhtml(markdown), r"(href|src)=", markdown)
        self.assertIn('href="mailto:a@b.c"', to_xhtml("[l](mailto:a@b.c)"))
        self.assertIn('href="/a:b"', to_xhtml("[l](/a:b)"))

    def test_attributes_that_run_something(self) -> None:
        """Attributes other than colours and similar ones are removed."""
        page = to_xhtml("*x*{: onclick='alert(1)' style='background: url(http://h)' color='red' }")
        self.assertEqual('<p><em color="red">x</em></p>', page)

    def test_too_much(self) -> None:
        """Text that would take Markdown too long is shown as it was written, escaped."""
        page = to_xhtml("<b> " * 10_000)
        self.assertTrue(page.startswith("<p>&lt;b&gt; "))

    def test_nested_too_deep(self) -> None:
        """Text with extreme nesting is shown as it was written, escaped."""
        self.assertTrue(to_xhtml("*" + "[x](http://h " * 900).startswith("<p>"))

    @given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join))
    def test_nothing_runs(self, markdown: str) -> None:
        """For any text, the page has only tags of text, without event handlers, and links with allowed schemes."""
        for tag, attributes in Collector(to_xhtml(markdown)).found:
            self.assertIn(tag, TAGS)
            for name, value in attributes.items():
                self.assertFalse(name.startswith("on"), name)
                if name in ("href", "src"):
                    scheme = re.match(r"\s*([^/?#]*?):", value or "")
                    self.assertTrue(scheme is None or scheme[1].lower() in SCHEMES, value)


class EntityTests(SynchronousTestCase):
    """`unescape`."""

    def test_entities(self) -> None:
        """Entities that XML doesn't define become characters; its own five and unknown ones are kept."""
        self.assertEqual("é é é &lt; &amp; &bogus; &lt;", unescape("&eacute; &#233; &#xE9; &lt; &amp; &bogus; &#60;"))
