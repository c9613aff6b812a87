"""The reference pages are complete: they list what the code has."""

from __future__ import annotations

import re

from errklein.commands import CommandDeclaration, is_admin_by_default
from errklein.plugins.botplugin import handlers_once_active
from errklein.testing import PluginTestCase
from errklein.testing._bot import TestBot
from errklein.web.facade import __all__ as flask_names
from tests.processes import ROOT

REFERENCE = ROOT / "docs" / "reference"

# Names of the facade that are errklein's own, and not Flask's.
OWN_NAMES = {"current_context", "endpoint_of", "response_of_error"}


class ChatCommandTests(PluginTestCase):
    """docs/reference/chat-commands.md."""

    bot: TestBot

    def listed(self) -> dict[str, bool]:
        """Return the page's commands, each with whether it is marked as for administrators."""
        page = (REFERENCE / "chat-commands.md").read_text("utf-8")
        rows = re.findall(r"^\| `!([^`]+)` \|(.*)\|", page, re.MULTILINE)
        return {text: rest.strip().startswith("A |") for text, rest in rows}

    def test_every_command_is_listed(self) -> None:
        """Each command of the core plugins has a row, with a mark if it is for administrators."""
        listed = self.listed()
        for plugin in self.bot.bot.plugin_manager.found:
            assert plugin.instance is not None
            for _, handler in handlers_once_active(plugin.instance):
                command = CommandDeclaration.of(handler)
                if command is None:
                    continue
                name = command.name.replace("_", " ")
                rows = {text: marked for text, marked in listed.items() if f"{text} ".startswith(f"{name} ")}
                self.assertTrue(rows, name)
                if name not in ("help", "status", "repos"):
                    self.assertEqual(
                        set(rows.values()), {bool(command.admin_only or is_admin_by_default(handler))}, name
                    )


class FlaskNameTests(PluginTestCase):
    """docs/reference/webhooks.md."""

    def test_every_name_is_listed(self) -> None:
        """Each name that `from flask import …` offers is on the page."""
        page = (REFERENCE / "webhooks.md").read_text("utf-8")
        missing = [name for name in flask_names if name not in OWN_NAMES and not re.search(rf"`{name}\b", page)]
        self.assertEqual(missing, [])
