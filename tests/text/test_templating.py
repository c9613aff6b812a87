"""Templates: search, values and errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import TemplateError, TemplateNotFound
from twisted.trial.unittest import SynchronousTestCase

from errklein.chat import Card
from errklein.text import templating, to_ansi, to_plain, to_xhtml
from errklein.text.templating import BrokenTemplate, add_templates, remove_templates, render


class TemplatesTestCase(SynchronousTestCase):
    """Has plugins that consist of templates only."""

    def add(self, plugin: str, **files: str) -> Path:
        """Add a plugin with these templates, by names without suffix."""
        root = Path(self.mktemp()).absolute()
        for name, source in files.items():
            self.write(root, name, source)
        add_templates(plugin, root)
        self.addCleanup(remove_templates, plugin)
        return root

    def write(self, root: Path, name: str, source: str) -> None:
        """Write a template of a plugin."""
        (root / "templates").mkdir(parents=True, exist_ok=True)
        (root / "templates" / f"{name}.md").write_text(source, encoding="utf-8")

    def problem(self, name: str, plugin: str | None = None, **values: Any) -> str:
        """Return the error of a template that can't be rendered."""
        error = self.assertRaises(TemplateError, render, name, values, plugin)
        self.assertNotIn("\n", str(error))
        return str(error)


class FindingTests(TemplatesTestCase):
    """Search for templates."""

    def test_by_its_plugin(self) -> None:
        """A template can include that of another plugin, and a shared one."""
        self.add("One", hello="one")
        self.add("Two", both='{% include "One/hello.md" %} {% include "hello.md" %}', hello="two")
        self.assertEqual("one one", render("both", {}, "Two"))

    def test_gone(self) -> None:
        """Removing a plugin removes its templates only; removing it twice has no effect."""
        self.add("One", hello="one")
        self.add("Two", hello="two")
        remove_templates("One")
        remove_templates("One")
        self.assertEqual("two", render("hello", {}))
        self.assertEqual("two", render("hello", {}, "One"))
        remove_templates("Two")
        self.assertRaises(TemplateNotFound, render, "hello", {})

    def test_two_plugins_in_one_directory(self) -> None:
        """If two plugins share a directory, removing one keeps the templates of the other."""
        root = self.add("One", hello="one")
        add_templates("Two", root)
        self.addCleanup(remove_templates, "Two")
        remove_templates("One")
        self.assertEqual("one", render("hello", {}, "Two"))
        self.assertEqual("one", render("hello", {}))

    def test_changed_file(self) -> None:
        """A plugin that is added again has its current templates."""
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
        """A name can't refer to a file outside the directory."""
        root = self.add("One", hello="one")
        (root / "secret.md").write_text("secret", encoding="utf-8")
        self.assertIn("there is no template", self.problem("../secret", "One"))

    def test_path_is_live(self) -> None:
        """A directory that is added to the list is searched from then on."""
        root = self.add("Any", hello="one")
        remove_templates("Any")
        templating.template_path.append(str(root / "templates"))
        self.addCleanup(templating.template_path.pop)
        self.assertEqual("one", render("hello", {}))


class FillingInTests(TemplatesTestCase):
    """Values in templates."""

    def test_values_are_no_templates(self) -> None:
        """Jinja2 tags in a value are text."""
        self.add("One", hello="{{ who }}")
        self.assertEqual("{{ 7 * 7 }}", render("hello", {"who": "{{ 7 * 7 }}"}, "One"))

    def test_markdown_in_values(self) -> None:
        """Markdown in a value stays Markdown; the filter `plain` shows untrusted values literally."""
        self.add("One", hello="{{ what }} {{ what|plain }}")
        self.assertEqual("x **x**", to_plain(render("hello", {"what": "**x**"}, "One")))

    def test_core_templates(self) -> None:
        """The Webserver's templates are available to all plugins, and accept any values."""
        self.assertIn("The bot listens on no address", render("webserver", {}))
        self.assertEqual("Listening on `tcp:1`, `unix:/x`", render("webserver", {"endpoints": ["tcp:1", "unix:/x"]}))
        self.assertIn("URL rule -> handler", render("webstatus", {}))
        self.assertIn("| x | \\*a\\*<br/>b |  |", render("repos", {"repos": [("x", "*a*\nb", None)]}))


class CardTests(SynchronousTestCase):
    """Cards as text."""

    def shown(self, **parts: Any) -> str:
        """Return the card as text."""
        return to_plain(self.card(**parts))

    def card(self, **parts: Any) -> str:
        """Return the card as Markdown."""
        return render("card", {"card": Card(**parts)})

    def test_all_of_it(self) -> None:
        """A card shows its summary, linked title, picture, body and fields, each on separate lines."""
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
        """A title can't change the address of the card's link."""
        card = self.card(title="t](http://evil/) [x", link="http://x/")
        self.assertEqual("t](http://evil/) [x (http://x/)", to_plain(card))
        self.assertEqual('<h2><a href="http://x/">t](http://evil/) [x</a></h2>', to_xhtml(card))

    def test_strangers_addresses(self) -> None:
        """An address can't end early, and one with a scheme that isn't allowed is shown as text."""
        page = to_xhtml(self.card(title="t", link="http://x/) [y](http://evil/", image="http://x/)![](http://evil/"))
        self.assertEqual(1, page.count("href="))
        self.assertEqual(1, page.count("src="))
        page = to_xhtml(self.card(title="t", link="javascript:x", image="data:x"))
        self.assertEqual("<h2>t (javascript:x)</h2>\n<p>data:x</p>", page)

    def test_markdown(self) -> None:
        """All values are Markdown, as with errbot; a bar doesn't end a cell, and an invalid colour has no effect."""
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
        """Without a title the link shows its address."""
        self.assertEqual("http://x/ (http://x/)", self.shown(link="http://x/"))

    def test_missing_parts(self) -> None:
        """Missing parts of a card take no lines."""
        self.assertEqual("text", self.shown(body="text"))
        self.assertEqual("T", self.shown(title="T"))
        self.assertEqual("http://h/t.png", self.shown(thumbnail="http://h/t.png"))
        self.assertEqual("", self.shown(fields=None))

    def test_title_is_one_line(self) -> None:
        """A title can't contain a line break."""
        self.assertEqual("a b", self.shown(title="a\nb"))

    def test_color(self) -> None:
        """On a terminal the title has the card's colour if the terminal supports it."""
        self.assertIn("41", to_ansi(self.card(title="T", color="red")))
        self.assertEqual("\x1b[1;30mT\x1b[22;39m", to_ansi(self.card(title="T", color="#123456")))


class TroubleTests(TemplatesTestCase):
    """Errors in templates."""

    def test_none(self) -> None:
        """The error names the template and the plugin."""
        self.assertEqual("there is no template hello.md in the plugin One or in errklein", self.problem("hello", "One"))
        self.assertEqual("there is no template hello.md", self.problem("hello"))

    def test_syntax(self) -> None:
        """A syntax error is reported with the file and the line."""
        self.add("One", hello="a\n{% if %}\n")
        problem = self.problem("hello", "One")
        expected = "the template hello.md, line 2, can't be rendered for the plugin One: Expected"
        self.assertTrue(problem.startswith(expected), problem)

    def test_raised(self) -> None:
        """An exception is reported with the file and the line, also in an included template."""
        self.add("One", hello="\n\n{{ 1 / 0 }}", all='{% include "One/hello.md" %}')
        for name in ("hello", "all"):
            problem = self.problem(name, "One")
            self.assertEqual(
                "the template hello.md, line 3, can't be rendered for the plugin One: "
                "ZeroDivisionError: division by zero",
                problem,
            )

    def test_includes_nothing(self) -> None:
        """Including a missing template is an error that names it."""
        self.add("One", hello='{% include "nowhere.md" %}')
        self.assertIn("it includes nowhere.md, which doesn't exist", self.problem("hello", "One"))

    def test_the_shared_one_instead(self) -> None:
        """If a plugin's template fails, the shared one is used, and the reason is logged."""
        self.add("First", hello="shared {{ who }}")
        self.add("One", hello="{{ 1 / 0 }}")
        with self.assertLogs("errbot.plugins.One", "WARNING") as logged:
            self.assertEqual("shared x", render("hello", {"who": "x"}, "One"))
        self.assertIn("hello.md, line 1", logged.output[0])

    def test_both_broken(self) -> None:
        """If both templates fail, the error is that of the plugin's."""
        self.add("First", hello="{{ first }")
        self.add("One", hello="{{ 1 / 0 }}")
        self.assertIn(
            "the template hello.md, line 1, can't be rendered for the plugin One", self.problem("hello", "One")
        )
        self.assertIn("division", self.problem("hello", "One"))

    def test_own_is_missing_and_the_shared_one_broken(self) -> None:
        """If the plugin has no template and the shared one fails, that error is raised."""
        self.add("First", hello="{{ first }")
        self.assertRaises(BrokenTemplate, render, "hello", {}, "One")
