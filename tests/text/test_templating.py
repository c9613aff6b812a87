"""Templates: where they are found, how they are filled in, and what is said of broken ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import TemplateError, TemplateNotFound
from twisted.trial.unittest import SynchronousTestCase

from errklein.chat import Card
from errklein.text import templating, to_ansi, to_plain, to_xhtml
from errklein.text.templating import BrokenTemplate, add_templates, remove_templates, render


class TemplatesTestCase(SynchronousTestCase):
    """Has plugins that are nothing but templates."""

    def add(self, plugin: str, **files: str) -> Path:
        """Give a plugin these templates, by name without suffix."""
        root = Path(self.mktemp()).absolute()
        for name, source in files.items():
            self.write(root, name, source)
        add_templates(plugin, root)
        self.addCleanup(remove_templates, plugin)
        return root

    def write(self, root: Path, name: str, source: str) -> None:
        """Write one of a plugin's templates."""
        (root / "templates").mkdir(parents=True, exist_ok=True)
        (root / "templates" / f"{name}.md").write_text(source, encoding="utf-8")

    def problem(self, name: str, plugin: str | None = None, **values: Any) -> str:
        """What is said of a template that can't be rendered."""
        error = self.assertRaises(TemplateError, render, name, values, plugin)
        self.assertNotIn("\n", str(error))
        return str(error)


class FindingTests(TemplatesTestCase):
    """Which file a name means."""

    def test_by_its_plugin(self) -> None:
        """A template may include that of another plugin, as well as one that all share."""
        self.add("One", hello="one")
        self.add("Two", both='{% include "One/hello.md" %} {% include "hello.md" %}', hello="two")
        self.assertEqual("one one", render("both", {}, "Two"))

    def test_gone(self) -> None:
        """A plugin's templates go with it, and others' stay; removing twice is no harm."""
        self.add("One", hello="one")
        self.add("Two", hello="two")
        remove_templates("One")
        remove_templates("One")
        self.assertEqual("two", render("hello", {}))
        self.assertEqual("two", render("hello", {}, "One"))
        remove_templates("Two")
        self.assertRaises(TemplateNotFound, render, "hello", {})

    def test_two_plugins_in_one_directory(self) -> None:
        """When one of them goes, the other keeps its templates."""
        root = self.add("One", hello="one")
        add_templates("Two", root)
        self.addCleanup(remove_templates, "Two")
        remove_templates("One")
        self.assertEqual("one", render("hello", {}, "Two"))
        self.assertEqual("one", render("hello", {}))

    def test_changed_file(self) -> None:
        """A plugin that is added again has its templates as they are now."""
        root = self.add("One", hello="one")
        self.assertEqual("one", render("hello", {}, "One"))
        self.write(root, "hello", "uno")
        add_templates("One", root)
        self.assertEqual("uno", render("hello", {}, "One"))

    def test_without_templates(self) -> None:
        """A plugin without a directory of templates changes nothing."""
        before = list(templating.template_path)
        add_templates("None", Path(self.mktemp()).absolute())
        self.assertEqual(before, templating.template_path)

    def test_outside(self) -> None:
        """A name can't lead out of the directory."""
        root = self.add("One", hello="one")
        (root / "secret.md").write_text("secret", encoding="utf-8")
        self.assertIn("there is no template", self.problem("../secret", "One"))

    def test_path_is_live(self) -> None:
        """A directory that is put into the list of directories is searched from then on."""
        root = self.add("Any", hello="one")
        remove_templates("Any")
        templating.template_path.append(str(root / "templates"))
        self.addCleanup(templating.template_path.pop)
        self.assertEqual("one", render("hello", {}))


class FillingInTests(TemplatesTestCase):
    """What becomes of values."""

    def test_values_are_no_templates(self) -> None:
        """Jinja2's tags in a value are text."""
        self.add("One", hello="{{ who }}")
        self.assertEqual("{{ 7 * 7 }}", render("hello", {"who": "{{ 7 * 7 }}"}, "One"))

    def test_markdown_in_values(self) -> None:
        """Plugins pass Markdown in values, which stays that; the filter `plain` is for what strangers say."""
        self.add("One", hello="{{ what }} {{ what|plain }}")
        self.assertEqual("x **x**", to_plain(render("hello", {"what": "**x**"}, "One")))

    def test_core_templates(self) -> None:
        """The Webserver's templates are available to all plugins, and accept any values."""
        self.assertIn("The bot listens on no address", render("webserver", {}))
        self.assertEqual("Listening on `tcp:1`, `unix:/x`", render("webserver", {"endpoints": ["tcp:1", "unix:/x"]}))
        self.assertIn("URL rule -> handler", render("webstatus", {}))
        self.assertIn("| x | \\*a\\*<br/>b |  |", render("repos", {"repos": [("x", "*a*\nb", None)]}))


class CardTests(SynchronousTestCase):
    """What cards are where the network has none."""

    def shown(self, **parts: Any) -> str:
        """The card as text."""
        return to_plain(self.card(**parts))

    def card(self, **parts: Any) -> str:
        """The card as Markdown."""
        return render("card", {"card": Card(**parts)})

    def test_all_of_it(self) -> None:
        """The summary, the title with its link, the picture, the body, and the fields, each on lines of their own."""
        shown = self.shown(
            body="**b**",
            summary="s",
            title="t",
            link="http://x/?a=1&b=2",
            image="http://x/a_(b)_c.png",
            color="red",
            fields=(("k", "v\nw"),),
        )
        self.assertEqual(
            ["s", "t (http://x/?a=1&b=2)", "http://x/a_%28b%29_c.png", "b"],
            [line.strip() for line in shown.splitlines() if line][:4],
        )
        self.assertIn("┃ k ┃", shown)
        self.assertIn("│ v │\n│ w │", shown)

    def test_strangers_title(self) -> None:
        """A title can't lead elsewhere than the card does."""
        card = self.card(title="t](http://evil/) [x", link="http://x/")
        self.assertEqual("t](http://evil/) [x (http://x/)", to_plain(card))
        self.assertEqual('<h2><a href="http://x/">t](http://evil/) [x</a></h2>', to_xhtml(card))

    def test_strangers_addresses(self) -> None:
        """Nor can an address that ends too early; and one that would run something is no link, but text."""
        page = to_xhtml(self.card(title="t", link="http://x/) [y](http://evil/", image="http://x/)![](http://evil/"))
        self.assertEqual(1, page.count("href="))
        self.assertEqual(1, page.count("src="))
        page = to_xhtml(self.card(title="t", link="javascript:x", image="data:x"))
        self.assertEqual("<h2>t (javascript:x)</h2>\n<p>data:x</p>", page)

    def test_markdown(self) -> None:
        """All of it is Markdown, as on errbot; a bar ends no cell, and a colour nothing."""
        shown = self.shown(
            body="b",
            summary="*s*",
            title="**t** [x]",
            link="http://l/",
            color="red' }\n\n**c**",
            fields=(("`k`", "v|w\n**x**"), ("l", "[here](http://y/)")),
        )
        self.assertEqual("s\n\n  t [x] (http://l/)\n\n b", shown.partition("\n┏")[0])
        self.assertIn("┃ k   ┃ l                ┃", shown)
        self.assertIn("│ v|w │ here (http://y/) │\n│ x   │                  │", shown)

    def test_only_the_link(self) -> None:
        """Without a title the address is shown for it."""
        self.assertEqual("http://x/ (http://x/)", self.shown(link="http://x/"))

    def test_missing_parts(self) -> None:
        """What a card doesn't have takes no room."""
        self.assertEqual("text", self.shown(body="text"))
        self.assertEqual("T", self.shown(title="T"))
        self.assertEqual("http://h/t.png", self.shown(thumbnail="http://h/t.png"))
        self.assertEqual("", self.shown(fields=None))

    def test_title_is_one_line(self) -> None:
        """A title can't end the heading."""
        self.assertEqual("a b", self.shown(title="a\nb"))

    def test_color(self) -> None:
        """On a terminal the title has the card's colours, if it is one that there is."""
        self.assertIn("41", to_ansi(self.card(title="T", color="red")))
        self.assertEqual("\x1b[1;30mT\x1b[22;39m", to_ansi(self.card(title="T", color="#123456")))


class TroubleTests(TemplatesTestCase):
    """Templates that can't be rendered."""

    def test_none(self) -> None:
        """Without a template of the name the error says whose and which."""
        self.assertEqual("One: there is no template hello.md", self.problem("hello", "One"))
        self.assertEqual("there is no template hello.md", self.problem("hello"))

    def test_syntax(self) -> None:
        """The file, the line and what is wrong."""
        self.add("One", hello="a\n{% if %}\n")
        problem = self.problem("hello", "One")
        self.assertTrue(problem.startswith("One: the template hello.md, line 2 can't be rendered: Expected"), problem)

    def test_raised(self) -> None:
        """So it is where something in it raises, in what it includes as well."""
        self.add("One", hello="\n\n{{ 1 / 0 }}", all='{% include "One/hello.md" %}')
        for name in ("hello", "all"):
            problem = self.problem(name, "One")
            self.assertEqual(
                "One: the template hello.md, line 3 can't be rendered: ZeroDivisionError: division by zero", problem
            )

    def test_includes_nothing(self) -> None:
        """A template that includes what isn't there."""
        self.add("One", hello='{% include "nowhere.md" %}')
        self.assertIn("it includes nowhere.md, which there isn't", self.problem("hello", "One"))

    def test_the_shared_one_instead(self) -> None:
        """Whatever fails in a plugin's template, the one that all share is used; its author finds why in the log."""
        self.add("First", hello="shared {{ who }}")
        self.add("One", hello="{{ 1 / 0 }}")
        with self.assertLogs("errbot.plugins.One", "WARNING") as logged:
            self.assertEqual("shared x", render("hello", {"who": "x"}, "One"))
        self.assertIn("hello.md, line 1", logged.output[0])

    def test_both_broken(self) -> None:
        """If neither can be rendered the error is about the plugin's own."""
        self.add("First", hello="{{ first }")
        self.add("One", hello="{{ 1 / 0 }}")
        self.assertIn("One: the template hello.md, line 1", self.problem("hello", "One"))
        self.assertIn("division", self.problem("hello", "One"))

    def test_own_is_missing_and_the_shared_one_broken(self) -> None:
        """A plugin without the template is told what is wrong with the shared one."""
        self.add("First", hello="{{ first }")
        self.assertRaises(BrokenTemplate, render, "hello", {}, "One")
