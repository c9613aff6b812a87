"""`!help`, `!apropos` and `!about`."""

from __future__ import annotations

import inspect

from errklein import BotPlugin, __version__, botcmd
from errklein.chat import Message
from errklein.commands import RegisteredCommand
from errklein.commands.declaration import documentation

_LINE = 80


class Help(BotPlugin):
    """Tells what the bot can do."""

    @botcmd
    async def about(self, msg: Message, args: str) -> str:
        """Say which version of errklein this is."""
        return f"This is errklein {__version__}, a chatbot service with webhooks."

    @botcmd
    async def apropos(self, msg: Message, args: str) -> str:
        """List the commands whose name or description contains a word."""
        term = args.strip().lower()
        if not term:
            return f"Usage: {self._bot.prefix}apropos search_term"
        lines = [self._line(command) for command in self._shown() if term in self._line(command).lower()]
        if not lines:
            return f'Nothing is known about "{term}".'
        return "Available commands:\n\n" + "\n".join(lines)

    @botcmd
    async def help(self, msg: Message, args: str) -> str:
        """List all commands, those of one plugin, or describe one command."""
        wanted = args.strip()
        if not wanted:
            return self._everything()
        for plugin in self._bot.plugin_manager.found:
            if plugin.active and plugin.name.lower() == wanted.lower():
                return self._of_plugin(plugin.name)
        prefix = self._bot.prefix
        name = wanted.removeprefix(prefix).replace(" ", "_")
        found = [command for command in self._bot.registry if command.name.lower() == name.lower()]
        if not found:
            return "That command is not defined."
        command = next((exact for exact in found if exact.name == name), found[0])
        described = documentation(command.handler) or "This command has no description."
        return f"**{prefix}{command.name.replace('_', ' ')}**\n\n{described}"

    def _shown(self) -> list[RegisteredCommand]:
        return [command for command in self._bot.registry if not command.declaration.hidden]

    def _everything(self) -> str:
        owners = sorted({command.owner for command in self._shown()})
        return "\n\n".join(["## All commands", *(self._of_plugin(owner) for owner in owners)])

    def _of_plugin(self, name: str) -> str:
        plugin = self._bot.plugin_manager.plugin(name)
        described = inspect.cleandoc(type(plugin.instance).__doc__ or "") or plugin.plug.description
        lines = [self._line(command) for command in self._shown() if command.owner == name]
        head = f"**{name}**" + (f"\n\n{described.splitlines()[0]}" if described else "")
        return head + "\n\n" + "\n".join(lines)

    def _line(self, command: RegisteredCommand) -> str:
        described = (documentation(command.handler).splitlines() or [""])[0]
        line = f"- {self._bot.prefix}{command.name.replace('_', ' ')} - {described}"
        return line if len(line) <= _LINE else line[: _LINE - 3] + "..."
