"""Replies about exceptions: administrators in a private chat get the text, everyone else gets an error id."""

from __future__ import annotations

from secrets import token_hex

from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

from errklein.chat import Identifier, Message, Person, RoomOccupant
from errklein.commands import Caller, CommandError
from errklein.dispatch._networks import Networks
from errklein.ports import Backend, KnowsHolders
from errklein.text.masking import masker


class DetailedError(CommandError):
    """A CommandError whose text contains an exception's text, which only administrators may read, in private chats.

    Everyone else gets `summary`, a sentence without a full stop, and an error id. The text is logged with that id.
    """

    def __init__(self, reason: str, summary: str) -> None:
        super().__init__(reason)
        self.summary = summary


class Disclosure:
    """Decides whether a reply may contain the text of an exception. Secrets are masked for everyone."""

    log = Logger()

    def __init__(self, networks: Networks) -> None:
        self._networks = networks

    def allowed(self, backend: Backend, message: Message) -> bool:
        """Whether only an administrator can read the reply to the message: it is direct, and from an administrator."""
        return message.is_direct and message.frm is not None and self.is_admin(backend, message.frm)

    def is_admin(self, backend: Backend, person: Identifier) -> bool:
        """Whether a message that is sent to the person now reaches an administrator, and nobody else.

        False for rooms and their occupants. On networks where names change hands, such as IRC with its nicks, the name's
        current holder is checked; False if the holder isn't known.
        """
        if not isinstance(person, Person) or isinstance(person, RoomOccupant):
            return False
        holder = backend.current_holder(person) if isinstance(backend, KnowsHolders) else person
        if holder is None:
            return False
        config = self._networks.config(backend)
        return Caller.from_message(Message(frm=holder, to=backend.bot_identifier), config).is_admin

    def reply(self, backend: Backend, message: Message, text: str, summary: str) -> str:
        """The text if the sender of the message may read it, else the summary; see `text`."""
        return self.text(text, summary, self.allowed(backend, message))

    def text(self, text: str, summary: str, may_read: bool) -> str:
        """The text, or the summary with an error id. Then the text is logged with that id."""
        if may_read:
            return masker(text)
        error_id = new_error_id()
        self.log.warn("{text} (error {error_id})", text=text, error_id=error_id)
        return with_id(summary, error_id)

    def failed(self, failure: Failure, event: str, text: str, summary: str, may_read: bool, **details: str) -> str:
        """As `text`, but the failure is logged, as `event` with the details and an error id, whoever may read the text."""
        error_id = new_error_id()
        self.log.emit(
            LogLevel.critical, event + " (error {error_id})", log_failure=failure, error_id=error_id, **details
        )
        return masker(text) if may_read else with_id(summary, error_id)


def new_error_id() -> str:
    """A random error id of eight hexadecimal digits."""
    return token_hex(4)


def with_id(summary: str, error_id: str) -> str:
    """The summary as a sentence that ends with the error id."""
    return f"{summary.rstrip('.')} (error {error_id})."
