"""Chapter 11: templates of plugins and of the bot."""

from __future__ import annotations

import unittest
from pathlib import Path

from tests.contract.kit import ContractTest


class TemplateTests(ContractTest):
    """Templates of plugins."""

    plugin = """
        from errbot import BotPlugin, botcmd
        from errbot.templating import tenv

        class Tried(BotPlugin):
            @botcmd(template="own")
            def own(self, msg, args):
                return {"text": args}

            @botcmd(template="shared")
            def shared(self, msg, args):
                return {"text": args}

            @botcmd(template="status_gc")
            def core(self, msg, args):
                return {"gc": (1, 2, 3)}

            @botcmd
            def by_environment(self, msg, args):
                return tenv().get_template("Tried/own.md").render(text=args)

            @botcmd
            def by_bot(self, msg, args):
                return self._bot.process_template("own", {"text": args}, self.name)

            @botcmd(template="lines")
            def lines(self, msg, args):
                return {"items": ["a", "b"]}
        """
    files = {
        "templates/own.md": "own **{{text}}**",
        "templates/lines.md": "{% for item in items %}\n- {{item}}\n{% endfor %}\n",
        "other/other.plug": "[Core]\nName = Other\nModule = other\n",
        "other/other.py": """
            from errbot import BotPlugin

            class Other(BotPlugin):
                pass
            """,
        "other/templates/shared.md": "shared {{text}}",
        "other/templates/own.md": "the other's {{text}}",
    }

    def test_own_first(self) -> None:
        """A plugin's own template takes precedence over those of others."""
        self.assertEqual(self.ask("!own x"), "own x")
        self.assertEqual(self.ask("!by bot x"), "own x")

    def test_those_of_others(self) -> None:
        """A template is looked up in the plugin, then in all active plugins, then in errbot's own."""
        self.assertEqual(self.ask("!shared x"), "shared x")
        self.assertIn("1", self.ask("!core"))

    def test_environment(self) -> None:
        """`tenv()` has a plugin's templates as `<plugin>/<template>.md`."""
        self.assertEqual(self.ask("!by environment x"), "own x")

    def test_escaped(self) -> None:
        """Values are escaped, so that they are displayed unchanged."""
        self.assertEqual(self.ask("!own a<b>&c"), "own a<b>&c")

    def test_blocks_are_trimmed(self) -> None:
        """The line of a block leaves no empty line."""
        self.assertEqual(self.ask("!lines"), "• a\n• b")

    def test_core_templates(self) -> None:
        """The templates of the core plugins exist."""
        from errbot.templating import tenv

        for name in [
            "card",
            "about",
            "status",
            "status_plugins",
            "status_load",
            "status_gc",
            "repos",
            "repos2",
            "plugin_info",
            "webstatus",
            "webserver",
        ]:
            tenv().get_template(f"{name}.md")

    def test_gone_with_their_plugin(self) -> None:
        """The templates of a deactivated plugin can't be used."""
        self.ask("!plugin deactivate Other")
        self.assertIn("Computer says nooo", self.ask("!shared x"))


class EnvironmentTests(unittest.TestCase):
    """The settings of `tenv()`."""

    def test_settings(self) -> None:
        """Blocks are trimmed, values are escaped, and the trailing newline is removed."""
        from errbot.templating import tenv

        environment = tenv()
        self.assertTrue(environment.trim_blocks)
        self.assertTrue(environment.autoescape)
        self.assertFalse(environment.keep_trailing_newline)
        self.assertEqual(environment.from_string("{{x}}\n").render(x="<"), "&lt;")


class FallbackTests(ContractTest):
    """Fallbacks for templates that can't be used."""

    plugin = """
        from errbot import BotPlugin, botcmd

        class Tried(BotPlugin):
            @botcmd(template="status_gc")
            def fails(self, msg, args):
                return {"gc": (1, 2, 3)}

            @botcmd(template="status_load")
            def makes_no_sense(self, msg, args):
                return {"loads": (0.5, 0.25, 0.125)}

            @botcmd(template="nowhere")
            def nowhere(self, msg, args):
                return {"a": 1}

            @botcmd
            def sent(self, msg, args):
                self.send_templated(msg.frm, "mine", {"text": "<x>"})

            @botcmd(template="sub/deeper")
            def deeper(self, msg, args):
                return {"text": args}

            @botcmd
            def of_others(self, msg, args):
                self.send_templated(msg.frm, "only_theirs", {"text": "x"})
        """
    files = {
        "templates/status_gc.md": "{{ there.is.nothing }}",
        "templates/status_load.md": "{% if %}",
        "templates/sub/deeper.md": "deeper {{ text }}",
        "templates/mine.md": "mine *{{ text }}*",
        "other/other.plug": "[Core]\nName = Other\nModule = other_templates\n",
        "other/other_templates.py": """
            from errbot import BotPlugin

            class Other(BotPlugin):
                pass
            """,
        "other/templates/mine.md": "the other's",
        "other/templates/only_theirs.md": "theirs {{ text }}",
    }

    def test_fails(self) -> None:
        """If the plugin's template can't be rendered, the global one of that name is used."""
        self.assertRegex(self.ask("!fails"), "1.*2.*3")

    def test_makes_no_sense(self) -> None:
        """If the plugin's template has a syntax error, the global one is used."""
        self.assertIn("Load", self.ask("!makes no sense"))

    def test_nowhere(self) -> None:
        """A template that exists nowhere is an error of the command, which names it."""
        said = self.ask("!nowhere")
        self.assertIn("Computer says nooo", said)
        self.assertIn("nowhere", said)

    def test_sent(self) -> None:
        """`send_templated` looks up templates in the same order."""
        self.assertEqual(self.ask("!sent"), "mine <x>")
        self.assertEqual(self.ask("!of others"), "theirs x")

    def test_directories(self) -> None:
        """Templates may be in subdirectories."""
        self.assertEqual(self.ask("!deeper x"), "deeper x")

    def test_where(self) -> None:
        """`template_path` and `plugin_templates` have the directories."""
        from errbot import templating

        own = self.directory / "templates"
        self.assertIn(own, [Path(place) for place in templating.template_path])
        self.assertIn("Tried", templating.plugin_templates)
        self.assertEqual(Path(templating.make_templates_path(self.directory)), own)

    def test_by_hand(self) -> None:
        """The templates of a plugin can be removed and added again."""
        from errbot import templating

        info = self.bot.plugin_manager.plugin_infos["Tried"]
        templating.remove_plugin_templates_path(info)
        self.assertNotIn("Tried", templating.plugin_templates)
        templating.add_plugin_templates_path(info)
        self.assertEqual(self.ask("!sent"), "mine <x>")
