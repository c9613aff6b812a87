"""Plugins: their base classes, their files, and their life from discovery to removal. A plugin is a `.plug` file and a Python
module with a subclass of `BotPlugin`. `discovery` finds the files, `plug_file` reads them, `imports` loads the modules, separately
for each plugin, `packages` installs the distributions that they require, and `methods` finds mistakes in them. `manager` changes
the active plugins, one change at a time. Collections of flows (`.flow` files, `BotFlow`) are handled likewise. `repos` installs
repositories of plugins."""

from errklein.plugins.botplugin import BotFlow, BotPlugin, ValidationException, recurse_check_structure

__all__ = ["BotFlow", "BotPlugin", "ValidationException", "recurse_check_structure"]
