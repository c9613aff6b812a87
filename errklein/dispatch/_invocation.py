"""The invocation of a command by a message."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from errklein.chat import Message
from errklein.commands import RegisteredCommand
from errklein.ports.chat import Backend


@dataclass(frozen=True, slots=True)
class Invocation:
    """A command that a message runs, on its way to the reply.

    `args` is at first the text after the command's name, or the whole text for a command with a pattern, and later the split
    arguments or the match. `settings` are the network's settings at the time when the message was received.
    """

    backend: Backend
    message: Message
    command: RegisteredCommand
    args: Any
    settings: Any

    def with_args(self, args: Any) -> Invocation:
        """Return the same invocation with other arguments."""
        return self if args is self.args else Invocation(self.backend, self.message, self.command, args, self.settings)
