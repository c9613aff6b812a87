"""`!inroom`, `!inperson`, `!asuser`, `!asadmin` and `!ml`: who speaks on the Text network, where, and in how many lines."""

from __future__ import annotations

from errklein.backends.text import TextBackend, TextPerson, TextRoom
from errklein.chat import Identifier, Message
from errklein.commands import CommandError, botcmd
from errklein.core_plugins import CorePlugin
from errklein.text import code, plain

_ROOM = "#testroom"
_USER = "@user"


class TextCmds(CorePlugin):
    """Changes who speaks, and where, on the Text network. It is inactive where there is none."""

    def activate(self) -> None:
        """Begin, if one of the networks is a conversation on this terminal."""
        if any(isinstance(backend, TextBackend) for backend in self._bot.backends.values()):
            super().activate()

    @botcmd(threaded=False, syntax="[ROOM]")
    def inroom(self, msg: Message, args: str) -> str:
        """Say what you type in a room: the one given, or else the first of CHATROOM_PRESENCE."""
        text = self._text()
        rooms = [entry if isinstance(entry, str) else entry[0] for entry in text.config.CHATROOM_PRESENCE]
        name = args.strip() or next(iter(rooms), _ROOM)
        room = _identifier(text, name)
        if not isinstance(room, TextRoom):
            raise CommandError(f"{code(name)} is no room; expected one such as {_ROOM}.")
        if not room.joined:
            room.join()
        text.set_room(room)
        return f"You speak in the room {code(str(room))} now."

    @botcmd(threaded=False)
    def inperson(self, msg: Message, args: str) -> str:
        """Say what you type to the bot alone."""
        self._text().set_room(None)
        return "You speak with the bot alone now."

    @botcmd(threaded=False, syntax="[NAME]")
    def asuser(self, msg: Message, args: str) -> str:
        """Speak as somebody else, who has no rights of an administrator."""
        text = self._text()
        name = args.strip().removeprefix("@")
        person = _identifier(text, f"@{name}" if name else _USER)
        if not isinstance(person, TextPerson):
            raise CommandError(f"{code(name)} is nobody; expected a name such as {_USER}.")
        text.set_user(person)
        return f"You are {code(str(person))} now."

    @botcmd(threaded=False)
    def asadmin(self, msg: Message, args: str) -> str:
        """Speak as the administrator again."""
        text = self._text()
        text.set_user(text.administrator)
        return f"You are {code(str(text.administrator))} now, an administrator."

    @botcmd(threaded=False)
    def ml(self, msg: Message, args: str) -> str:
        """Begin or end to type messages of several lines, each of which an empty line ends."""
        if self._text().toggle_multiline():
            return f"An empty line ends a message now. Say {self._bot.prefix}ml, and an empty line, to end this."
        return "Each line is a message again."

    def _text(self) -> TextBackend:
        """The network that the command came from."""
        backend = self._bot.backend
        if not isinstance(backend, TextBackend):
            raise CommandError("This is for the terminal that the bot was started on.")
        return backend


def _identifier(text: TextBackend, name: str) -> Identifier:
    try:
        return text.build_identifier(name)
    except ValueError as error:
        raise CommandError(f"{code(name)} is nothing here: {plain(str(error))}") from error
