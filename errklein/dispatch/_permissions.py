"""Permission to run a command: access rules, then plugins' filters."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from twisted.logger import Logger

from errklein.chat import Message
from errklein.commands import Caller, CommandRegistry, RegisteredCommand, check_access, needs_admin
from errklein.dispatch._filters import Filtering
from errklein.dispatch._invocation import Invocation
from errklein.dispatch._networks import Networks
from errklein.dispatch.replies import Replies
from errklein.ports import Backend


class Permissions:
    """Decides whether a command may run, by the access rules and the filters."""

    log = Logger()

    def __init__(self, networks: Networks, registry: CommandRegistry, filtering: Filtering, replies: Replies) -> None:
        self._networks = networks
        self._registry = registry
        self._filtering = filtering
        self._replies = replies

    def denied(self, invocation: Invocation) -> bool:
        """Return whether an access rule denies the command; reply with the reason unless HIDE_RESTRICTED_ACCESS is set."""
        settings = invocation.settings
        command = invocation.command
        if not (settings.ACCESS_CONTROLS or settings.ACCESS_CONTROLS_DEFAULT or needs_admin(command)):
            return False
        denial = self.denial(invocation.backend, invocation.message, command, invocation.args)
        if denial is None:
            return False
        self.log.info(
            "{sender} may not use {command}: {reason}",
            sender=str(invocation.message.frm),
            command=command.name,
            reason=denial,
        )
        if not settings.HIDE_RESTRICTED_ACCESS:
            self._replies.reply_to(invocation, denial)
        return True

    async def filtered(self, invocation: Invocation) -> Invocation | None:
        """Return the command as filters changed it, or None if a filter blocks it or an access rule denies the changed one."""
        given = (invocation.message, invocation.command.name, invocation.args)
        passed = await self._filtering.let_through(*given)
        if passed is None or passed == given:
            return None if passed is None else invocation
        message, name, args = passed
        command = invocation.command if name == given[1] else self._registry.find(name)
        if command is None:
            self.log.warn("A filter replaced {given} by {command}, which is unknown", command=name, given=given[1])
            return None
        changed = replace(invocation, message=message, command=command, args="" if args is None else args)
        # The sender must be permitted to run the changed command, too.
        return None if self.denied(changed) else changed

    async def permits(self, message: Message, command: RegisteredCommand) -> bool:
        """Return whether the sender of the message may use the command with at least some arguments."""
        if self.denial(self._networks.current, message, command) is not None:
            return False
        return await self._filtering.let_through(message, command.name, None, dry_run=True) is not None

    def denial(self, backend: Backend, message: Message, command: RegisteredCommand, args: Any = None) -> str | None:
        """Return the reply if an access rule denies the command to the sender of the message, else None.

        Rules for arguments are skipped if `args` is None.
        """
        config = self._networks.config(backend)
        text = None if args is None else str(args)
        return check_access(command, text, Caller.from_message(message, config), config).denial
