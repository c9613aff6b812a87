"""The command `!acl explain`, in the module that is `errbot.core_plugins.acls` for plugins."""

from __future__ import annotations

import re
from collections.abc import Iterator

from errklein.chat import Identifier, Message, Person, Room, RoomOccupant
from errklein.commands import Caller, CommandError, RegisteredCommand, botcmd, check_access, explain_access
from errklein.core_plugins import CorePlugin
from errklein.text import code

BLOCK_COMMAND = (None, None, None)  # the return value of a command filter that blocks the command
_ROOM_FIRST = re.compile(r"in\s+(?P<room>\S+)\s+(?P<rest>.*)", re.DOTALL)
_ROOM_LAST = re.compile(r"(?P<rest>.*\S)\s+in\s+(?P<room>\S+)", re.DOTALL)


class ACLS(CorePlugin):
    """Explain access rules.

    The rules apply whether this plugin is active or not."""

    @botcmd(admin_only=True, syntax="PERSON [in ROOM] COMMAND [ARGUMENTS]")
    def acl_explain(self, msg: Message, args: str) -> str:
        """Explain whether a person may use a command.

        The reply names the rules that decide. "in ROOM" may also be at the end."""
        user, _, rest = args.strip().partition(" ")
        rest = rest.strip()
        if not rest:
            raise CommandError(f"Usage: {self.host.prefix}acl explain PERSON [in ROOM] COMMAND [ARGUMENTS]")
        who = self.identifier_of(user)
        if not isinstance(who, Person):
            raise CommandError(f"{code(user)} is not a person; only people use commands.")
        room: Identifier | None = who.room if isinstance(who, RoomOccupant) else None
        first, last = _ROOM_FIRST.fullmatch(rest), _ROOM_LAST.fullmatch(rest)
        if first is not None:
            room, rest = self._room(first["room"]), first["rest"]
        elif last is not None and isinstance(named := self._or_none(last["room"]), Room):
            room, rest = named, last["rest"]
        return self._explained(who, room, rest)

    def _explained(self, who: Person, room: Identifier | None, text: str) -> str:
        config = self.host.networks.config(self.host.networks.of(who))
        text = text.removeprefix(config.BOT_PREFIX).strip()
        caller = Caller.from_identifier(who, room, config)
        disclosed = not config.HIDE_RESTRICTED_ACCESS
        explanations = [
            explain_access(caller, given, check_access(command, args, caller, config), disclosed=disclosed, show=code)
            for command, given, args in self._matching(text, config.BOT_PREFIX)
        ]
        if not explanations:
            raise CommandError(f"Command {code(text)} not found.")
        return "\n\n".join(explanations)

    def _matching(self, text: str, prefix: str) -> Iterator[tuple[RegisteredCommand, str, str | None]]:
        """Yield the commands that match the text, by name or by pattern, each as written and with its arguments; None for these
        if the text is the method name of a command with a pattern."""
        registry = self.host.dispatcher.registry
        found = registry.begins(text)
        command = found[0] if found is not None else registry.find("_".join(text.split()))
        if command is None:
            for command in registry.by_pattern:
                if command.declaration.match(text):
                    yield command, text, text
        elif found is not None:
            yield command, f"{prefix}{command.name.replace('_', ' ')} {found[1]}".strip(), found[1]
        else:
            yield command, text, None

    def _room(self, text: str) -> Room:
        room = self._or_none(text)
        # Networks without a marker for rooms, such as the Test network, read any name as a person's.
        return room if isinstance(room, Room) else self.query_room(text)

    def _or_none(self, text: str) -> Identifier | None:
        try:
            return self.build_identifier(text)
        except ValueError:
            return None
