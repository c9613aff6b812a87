"""Replies that repeat an exception: administrators in a private chat read its text, everyone else gets an error id."""

from __future__ import annotations

from secrets import token_hex
from typing import TYPE_CHECKING

from twisted.logger import Logger

from errklein.chat import Identifier, Message, Person, RoomOccupant
from errklein.commands import Caller, CommandError
from errklein.ports import Backend, KnowsHolders
from errklein.text.masking import masker

if TYPE_CHECKING:
    from errklein.bot import Bot


class DetailedError(CommandError):
    """A CommandError whose text repeats an exception's, and so is for administrators in private only.

    Everyone else gets `summary`, a sentence without its full stop, and an error id; the log has the text under that id.
    """

    def __init__(self, reason: str, summary: str) -> None:
        super().__init__(reason)
        self.summary = summary


class Disclosure:
    """Decides for each reply whether it may have the text of an exception. Secrets are masked for everyone."""

    log = Logger()

    def __init__(self, bot: Bot) -> None:
        self._bot = bot

    def allowed(self, backend: Backend, message: Message) -> bool:
        """Whether the reply to the message is for an administrator alone."""
        return message.is_direct and message.frm is not None and self.is_admin(backend, message.frm)

    def is_admin(self, backend: Backend, person: Identifier) -> bool:
        """Whether what is sent to the person now reaches an administrator, and nobody else.

        Where names change hands, as nicks on IRC, it is the name's current holder who counts. Never for a room.
        """
        if not isinstance(person, Person) or isinstance(person, RoomOccupant):
            return False
        holder = backend.current_holder(person) if isinstance(backend, KnowsHolders) else person
        if holder is None:
            return False
        admins = self._bot.bot_config.networks[backend.network].BOT_ADMINS
        return Caller.of(Message(frm=holder, to=backend.bot_identifier), admins).is_admin

    def reply(self, backend: Backend, message: Message, text: str, summary: str) -> str:
        """The text for those who may read it, else the summary with an error id, under which the text is logged."""
        return masker(text) if self.allowed(backend, message) else self.withheld(text, summary)

    def withheld(self, text: str, summary: str) -> str:
        """The summary with an error id, under which the text is logged."""
        error_id = new_error_id()
        self.log.warn("{text} (error {error_id})", text=text, error_id=error_id)
        return with_id(summary, error_id)


def new_error_id() -> str:
    """Eight hexadecimal digits by which an error is found in the log."""
    return token_hex(4)


def with_id(summary: str, error_id: str) -> str:
    """The sentence with the id by which the log has the rest."""
    return f"{summary.rstrip('.')} (error {error_id})."
