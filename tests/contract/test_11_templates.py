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
        """A plugin's own template comes first, whatever others have."""
        self.assertEqual(self.ask("!own x"), "own x")
        self.assertEqual(self.ask("!by bot x"), "own x")

    def test_those_of_others(self) -> None:
        """Then those of all active plugins, then errbot's."""
        self.assertEqual(self.ask("!shared x"), "shared x")
        self.assertIn("1", self.ask("!core"))

    def test_environment(self) -> None:
        """`tenv()` has them as <plugin>/<template>.md."""
        self.assertEqual(self.ask("!by environment x"), "own x")

    def test_escaped(self) -> None:
        """Values are escaped, and shown as they are."""
        self.assertEqual(self.ask("!own a<b>&c"), "own a<b>&c")

    def test_blocks_are_trimmed(self) -> None:
        """A block's own line leaves none behind."""
        self.assertEqual(self.ask("!lines"), "• a\n• b")

    def test_core_templates(self) -> None:
        """These are there."""
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
        """A deactivated plugin's templates are gone."""
        self.ask("!plugin deactivate Other")
        self.assertIn("Computer says nooo", self.ask("!shared x"))


class EnvironmentTests(unittest.TestCase):
    """The environment of templates."""

    def test_settings(self) -> None:
        """Blocks are trimmed, values escaped, the last newline goes."""
        from errbot.templating import tenv

        environment = tenv()
        self.assertTrue(environment.trim_blocks)
        self.assertTrue(environment.autoescape)
        self.assertFalse(environment.keep_trailing_newline)
        self.assertEqual(environment.from_string("{{x}}\n").render(x="<"), "&lt;")


class FallbackTests(ContractTest):
    """Where templates come from if a plugin's own one is no good."""

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
        """If it can't be rendered, the one that is there for all is."""
        self.assertRegex(self.ask("!fails"), "1.*2.*3")

    def test_makes_no_sense(self) -> None:
        """If it can't be read either."""
        self.assertIn("Load", self.ask("!makes no sense"))

    def test_nowhere(self) -> None:
        """If there is none at all it is an error of the command."""
        said = self.ask("!nowhere")
        self.assertIn("Computer says nooo", said)
        self.assertIn("nowhere", said)

    def test_sent(self) -> None:
        """`send_templated` looks in the same places, the plugin's own first."""
        self.assertEqual(self.ask("!sent"), "mine <x>")
        self.assertEqual(self.ask("!of others"), "theirs x")

    def test_directories(self) -> None:
        """Templates may lie in directories."""
        self.assertEqual(self.ask("!deeper x"), "deeper x")

    def test_where(self) -> None:
        """The places are `template_path`, and for each plugin `plugin_templates`."""
        from errbot import templating

        own = self.directory / "templates"
        self.assertIn(own, [Path(place) for place in templating.template_path])
        self.assertIn("Tried", templating.plugin_templates)
        self.assertEqual(Path(templating.make_templates_path(self.directory)), own)

    def test_by_hand(self) -> None:
        """Templates of a plugin can be taken away and put back."""
        from errbot import templating

        info = self.bot.plugin_manager.plugin_infos["Tried"]
        templating.remove_plugin_templates_path(info)
        self.assertNotIn("Tried", templating.plugin_templates)
        templating.add_plugin_templates_path(info)
        self.assertEqual(self.ask("!sent"), "mine <x>")
