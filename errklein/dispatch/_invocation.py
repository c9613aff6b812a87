"""A command in flight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from errklein.chat import Message
from errklein.commands import RegisteredCommand
from errklein.ports import Backend


@dataclass(frozen=True, slots=True)
class Invocation:
    """A command that a message gives on a network.

    `args` is the text after the command's name, or for a command with a pattern the whole text; what its handler gets once
    the text is split or matched. `settings` are the network's, when the message came.
    """

    backend: Backend
    message: Message
    command: RegisteredCommand
    args: Any
    settings: Any

    def with_args(self, args: Any) -> Invocation:
        """The same command with these arguments."""
        return self if args is self.args else Invocation(self.backend, self.message, self.command, args, self.settings)
