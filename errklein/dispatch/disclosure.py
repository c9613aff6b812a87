"""Disclosure of exceptions: administrators get their text in a private chat, everyone else gets an error id."""

from __future__ import annotations

from secrets import token_hex

from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

from errklein.chat import Identifier, Message, Person, RoomOccupant
from errklein.commands import Caller, CommandError
from errklein.dispatch._networks import Networks
from errklein.ports.chat import Backend, KnowsHolders
from errklein.text import plain
from errklein.text.masking import masker


class DetailedError(CommandError):
    """A CommandError whose text contains that of another exception, which only administrators get, in a private chat.

    Everyone else gets `summary`, a sentence without a full stop, and an error id. The text is logged with that id.
    """

    def __init__(self, reason: str, summary: str) -> None:
        super().__init__(reason)
        self.summary = summary


class Disclosure:
    """Decides whether a reply may contain the text of an exception. Secrets are masked in every reply."""

    log = Logger()

    def __init__(self, networks: Networks) -> None:
        self._networks = networks

    def allowed(self, backend: Backend, message: Message) -> bool:
        """Return whether only an administrator reads the reply to the message: it is direct and from an administrator."""
        return message.is_direct and message.frm is not None and self.is_admin(backend, message.frm)

    def is_admin(self, backend: Backend, person: Identifier) -> bool:
        """Return whether a message that is sent to the person now reaches only an administrator.

        It is False for rooms and their occupants. On networks where a name may pass to another person, such as a nick on IRC,
        the current holder must be an administrator; it is False if the holder is unknown.
        """
        if not isinstance(person, Person) or isinstance(person, RoomOccupant):
            return False
        holder = backend.current_holder(person) if isinstance(backend, KnowsHolders) else person
        if holder is None:
            return False
        config = self._networks.config(backend)
        return Caller.from_message(Message(frm=holder, to=backend.bot_identifier), config).is_admin

    def text(self, text: str, summary: str, may_read: bool) -> str:
        """Return the text if `may_read`; else log it with an error id, and return the summary with that id."""
        if may_read:
            return masker(text)
        error_id = new_error_id()
        self.log.warn("{text} (error {error_id})", text=text, error_id=error_id)
        return with_id(summary, error_id)

    def failed(
        self, failure: Failure, event: str, text: str, summary: str, may_read: bool, *, source: str = "", **details: str
    ) -> str:
        """Log the failure as `event` with an error id; return the text if `may_read`, else the summary with that id.

        A `source`, such as "KeyError in weather.py, line 12", is a second line of the text, and gets the id too.
        """
        error_id = new_error_id()
        self.log.emit(
            LogLevel.critical, event + " (error {error_id})", log_failure=failure, error_id=error_id, **details
        )
        if not may_read:
            return with_id(summary, error_id)
        return masker(f"{text}\n{plain(source)} (error {error_id})" if source else text)


def new_error_id() -> str:
    """Return a random error id of eight hexadecimal digits."""
    return token_hex(4)


def with_id(summary: str, error_id: str) -> str:
    """Return the summary as a sentence that ends with the error id."""
    return f"{summary.rstrip('.')} (error {error_id})."
