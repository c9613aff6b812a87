"""Replies to unknown commands, with suggestions."""

from __future__ import annotations

from errklein.chat import Message
from errklein.commands import CommandRegistry, RegisteredCommand, unknown_command
from errklein.dispatch._networks import Networks
from errklein.dispatch._permissions import Permissions
from errklein.ports import Backend, HasOwnReplies


class UnknownCommands:
    """Creates the replies to unknown commands. They never suggest a command that is hidden from the sender."""

    def __init__(self, networks: Networks, registry: CommandRegistry, permissions: Permissions) -> None:
        self._networks = networks
        self._registry = registry
        self._permissions = permissions

    def text(self, message: Message | None, name: str | None, args: str | None) -> str:
        """Return the reply on the current network. The network may have its own, which may block."""
        backend = self._networks.current
        if isinstance(backend, HasOwnReplies):
            return backend.unknown_command_reply(message, name or "", args or "")
        return self.suggestions(backend, message, f"{name or ''} {args or ''}")

    def suggestions(self, backend: Backend, message: Message | None, text: str) -> str:
        """Return the reply with the names of similar commands that the sender of the message may use."""
        names = [command.name for command in self.visible(backend, message)]
        return unknown_command(text, names, self._networks.config(backend).BOT_PREFIX)

    def visible(self, backend: Backend, message: Message | None) -> list[RegisteredCommand]:
        """Return the named commands that aren't hidden, or by HIDE_RESTRICTED_COMMANDS from the message's sender, by name."""
        declared = ((command, command.declaration) for command in self._registry)
        commands = [command for command, its in declared if its.pattern is None and not its.hidden]
        if message is not None and self._networks.settings(backend).HIDE_RESTRICTED_COMMANDS:
            denial = self._permissions.denial
            commands = [command for command in commands if denial(backend, message, command) is None]
        return commands
