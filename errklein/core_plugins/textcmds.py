"""The commands `!inroom`, `!inperson`, `!asuser`, `!asadmin` and `!ml` of the Text network."""

from __future__ import annotations

from errklein.chat import Message
from errklein.commands import CommandError, botcmd
from errklein.core_plugins import CorePlugin
from errklein.networks.text import TextBackend, TextPerson, TextRoom
from errklein.text import code

_ROOM = "#testroom"
_USER = "@user"


class TextCmds(CorePlugin):
    """Act as other people and in rooms on the terminal.

    The plugin is active only if the bot has a Text network."""

    def activate(self) -> None:
        if any(isinstance(backend, TextBackend) for backend in self.host.networks.backends.values()):
            super().activate()

    @botcmd(threaded=False, syntax="[ROOM]")
    def inroom(self, msg: Message, args: str) -> str:
        """Send what you type to a room.

        By default it is the first room of CHATROOM_PRESENCE."""
        text = self._text()
        rooms = [entry if isinstance(entry, str) else entry[0] for entry in text.config.CHATROOM_PRESENCE]
        name = args.strip() or next(iter(rooms), _ROOM)
        room = self.identifier_of(name)
        if not isinstance(room, TextRoom):
            raise CommandError(f"{code(name)} is not a room; names of rooms begin with #, as in {_ROOM}.")
        if not room.joined:
            room.join()
        text.set_room(room)
        return f"Messages now go to the room {code(str(room))}."

    @botcmd(threaded=False)
    def inperson(self, msg: Message, args: str) -> str:
        """Send what you type to the bot in private."""
        self._text().set_room(None)
        return "Messages now go to the bot in private."

    @botcmd(threaded=False, syntax="[NAME]")
    def asuser(self, msg: Message, args: str) -> str:
        """Act as another person, who isn't an administrator."""
        text = self._text()
        name = args.strip().removeprefix("@")
        person = self.identifier_of(f"@{name}" if name else _USER)
        if not isinstance(person, TextPerson):
            raise CommandError(f"{code(name)} is not a person; expected a name such as {_USER}.")
        text.set_user(person)
        return f"You are now {code(str(person))}."

    @botcmd(threaded=False)
    def asadmin(self, msg: Message, args: str) -> str:
        """Act as the administrator again."""
        text = self._text()
        text.set_user(text.administrator)
        return f"You are now {code(str(text.administrator))}, an administrator."

    @botcmd(threaded=False)
    def ml(self, msg: Message, args: str) -> str:
        """Turn messages of several lines on or off."""
        if not self._text().toggle_multiline():
            return "Messages now end with the line."
        return f"Messages now end with an empty line. To turn this off, type {self.host.prefix}ml and an empty line."

    def _text(self) -> TextBackend:
        backend = self.host.networks.current
        if not isinstance(backend, TextBackend):
            raise CommandError("This command is available only on the bot's terminal.")
        return backend
