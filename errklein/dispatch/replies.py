"""Replies to commands: results, denials and errors, sent to where the settings say; and who may read the text of an exception."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from secrets import token_hex
from typing import Any, Protocol, runtime_checkable

from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

from errklein.chat import Card, Identifier, Message, Person, RoomOccupant
from errklein.chat.handles import without_handle
from errklein.commands import Caller, CommandError, RegisteredCommand
from errklein.dispatch._finding import Invocation
from errklein.dispatch._networks import Networks
from errklein.ports.chat import Backend, KnowsHolders
from errklein.ports.outbox import OutboxFull, RoomUnavailable
from errklein.ports.receipts import Receipt
from errklein.running import PoolStopped
from errklein.text import plain, truncated
from errklein.text.errors import line_in
from errklein.text.masking import SHOWN_TEXT, masker
from errklein.text.rendering import MARKDOWN_CAP

ERROR_REPLY = "Computer says nooo. See logs for details"  # begins the reply to a command that raised an exception
Deliver = Callable[[Backend, Message], Receipt]


@runtime_checkable
class HasOwnReplies(Protocol):
    """Implemented by backends that replace texts of the bot's own replies."""

    @property
    def error_reply(self) -> str:
        """The first line of the reply to a command that raised an exception."""

    def unknown_command_reply(self, message: Message | None, name: str, args: str) -> str:
        """The reply to a command that doesn't exist. May block."""


@runtime_checkable
class OperatorConsole(Protocol):
    """Implemented by backends through which the operator of the process talks with the bot."""

    def plain_text_reply(self, message: Message) -> str | None:
        """Return the reply, in Markdown, to a message that is neither a command nor the answer to a question. None for
        no reply. Plugins' `callback_message` is called in either case."""


class DetailedError(CommandError):
    """A CommandError whose text contains that of another exception, which only administrators get, in a private chat.
    Everyone else gets `summary`, a sentence without a full stop, and an error id. The text is logged with that id."""

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
        """Return whether a message that is sent to the person now reaches only an administrator. It is False for rooms
        and their occupants. On networks where a name may pass to another person, such as a nick on IRC, the current
        holder must be an administrator; it is False if the holder is unknown."""
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
        """Log the failure as `event` with an error id; return the text if `may_read`, else the summary with that id. A
        `source`, such as "KeyError in weather.py, line 12", is a second line of the text, and gets the id too."""
        error_id, event = new_error_id(), event + " (error {error_id})"
        self.log.emit(LogLevel.critical, event, log_failure=failure, error_id=error_id, **details)
        if not may_read:
            return with_id(summary, error_id)
        return masker(f"{text}\n{plain(source)} (error {error_id})" if source else text)


def new_error_id() -> str:
    return token_hex(4)


def with_id(summary: str, error_id: str) -> str:
    return f"{summary.rstrip('.')} (error {error_id})."


def process_template(template_name: str | None, template_parameters: Any, plugin_name: str | None = None) -> str:
    """Return the Markdown of a template, preferably the plugin's own; see `errklein.text.templating.render`. Without a
    template's name, or if the parameters are no mapping, return the parameters as text."""
    if not template_name or not isinstance(template_parameters, Mapping):
        return str(template_parameters)
    # Imported late: importing Jinja2 is slow, and some bots render no templates.
    from errklein.text import templating

    return templating.render(template_name, template_parameters, plugin_name)


class Replies:
    """Sends the replies to commands, in any thread. `wait_for` waits in a thread for the result of an awaitable."""

    log = Logger()

    process_template = staticmethod(process_template)
    error_reply = ERROR_REPLY
    simple_reply: Callable[[Backend, Message, str, bool, bool], object] | None = None
    """Sends a reply to the message, in private and in a thread if so, instead of `deliver`."""

    def __init__(
        self, networks: Networks, deliver: Deliver, disclosure: Disclosure, wait_for: Callable[[Awaitable[Any]], Any]
    ) -> None:
        self.deliver, self._networks, self._disclosure, self._wait_for = deliver, networks, disclosure, wait_for

    def reply(self, backend: Backend, message: Message, text: str) -> None:
        self._send(backend, message, text, None, self._networks.config(backend))

    def reply_to(self, invocation: Invocation, text: str) -> None:
        """Reply to the message of the invocation, in private or in a thread if the settings divert the replies there."""
        self._send(invocation.backend, invocation.message, text, invocation.command, invocation.settings)

    def addressed(
        self, backend: Backend, message: Message, text: str, command: RegisteredCommand | None = None
    ) -> Message:
        """Return the reply to the message as it would be sent. In a thread, it stays there unless it is diverted to private."""
        settings = self._networks.config(backend)
        private, threaded = _diversion(command, settings)
        return build_reply(backend, message, text, private, threaded or (message.is_threaded and not private), settings)

    def _send(
        self, backend: Backend, message: Message, text: str, command: RegisteredCommand | None, settings: Any
    ) -> None:
        private, threaded = _diversion(command, settings)
        if self.simple_reply is None:
            self.deliver(backend, build_reply(backend, message, text, private, threaded, settings))
        else:
            self.simple_reply(backend, message, text, private, threaded)

    def give(self, invocation: Invocation, item: Any) -> None:
        """Reply with a value that a command returned or yielded, unless it is empty. An awaitable is waited for, in a thread."""
        if type(item) is not str and isinstance(item := without_handle(item), Awaitable):
            item = self._wait_for(item)
        if not item:
            return
        template, owner = invocation.command.declaration.template, invocation.command.owner
        self.reply_to(invocation, self.process_template(template, item, plugin_name=owner))

    def failed(self, failure: Failure, invocation: Invocation) -> None:
        """Reply with an exception that a command raised, and log it unless it is a CommandError. Administrators get the
        exception's text, type, file and line in a private chat, others an error id. If the exception is OutboxFull it
        is raised again, since there is no room for a reply."""
        error = failure.value
        if isinstance(error, OutboxFull):
            raise error
        if isinstance(error, CommandError):
            try:
                text = self._text_of(error, invocation)
            except Exception:
                self._unexpected(Failure(), invocation)
            else:
                self.reply_to(invocation, masker.known(text))
        elif failure.check(RoomUnavailable):
            self.reply_to(invocation, failure_text(failure))
        elif failure.check(PoolStopped):
            self.reply_to(invocation, "The bot is stopping; the command was not run.")
        else:
            self._unexpected(failure, invocation)

    def faulty(self, failure: Failure, invocation: Invocation, text: str, summary: str, source: str = "") -> str:
        """Log a failure of the command; return `text` if the sender may read it, else `summary`; see `Disclosure.failed`."""
        command, message = invocation.command, invocation.message
        details = {"plugin": command.owner, "command": command.name, "sender": str(message.frm), "source": source}
        event, may_read = "The command {command} of {plugin} failed for {sender}", self._may_read(invocation)
        return self._disclosure.failed(failure, event, text, summary, may_read, **details)

    def _may_read(self, invocation: Invocation) -> bool:
        return self._disclosure.allowed(invocation.backend, invocation.message)

    def _text_of(self, error: CommandError, invocation: Invocation) -> str:
        text = str(error)
        if error.template:
            text = self.process_template(error.template, error.reason, plugin_name=invocation.command.owner)
        if isinstance(error, DetailedError):
            text = self._disclosure.text(text, error.summary, self._may_read(invocation))
        return text

    def _unexpected(self, failure: Failure, invocation: Invocation) -> None:
        backend = invocation.backend
        summary = backend.error_reply if isinstance(backend, HasOwnReplies) else self.error_reply
        text = f"{summary}:\n{failure_text(failure)}"
        source = _type_and_line(failure, invocation.command)
        self.reply_to(invocation, self.faulty(failure, invocation, text, summary, source))


def build_reply(backend: Backend, message: Message, text: str, private: bool, threaded: bool, settings: Any) -> Message:
    """Return a reply to the message, which begins with the sender's name in a room if GROUPCHAT_NICK_PREFIXED is set."""
    reply = backend.build_reply(message, text, private=private, threaded=threaded)
    if settings.GROUPCHAT_NICK_PREFIXED and reply.is_group and message.frm is not None:
        backend.prefix_groupchat_reply(reply, message.frm)
    return reply


def card_as_text(card: Card) -> Message:
    """Return the message for a network without cards, rendered by the template "card". Long texts other than the body
    are cut, since the template would take seconds for megabytes."""
    shown = card.changed(partial(truncated, most=MARKDOWN_CAP), lambda address: True)
    shown.body = card.body
    text = process_template("card", {"card": shown})
    message = Message(text, card.frm, card.to, card.parent, extras=card.extras)
    message.priority, message.mentions, message.thread = card.priority, card.mentions, card.thread
    return message


def refused(failure: Failure, command: RegisteredCommand) -> Failure:
    """Return a failure of a command, with the reply in place of one of the `refusals` of a core plugin."""
    plugin: Any = command.instance if command.core else None
    if plugin is None or not failure.check(*plugin.refusals):
        return failure
    return Failure(plugin.refusal(failure.value))


def failure_text(failure: Failure) -> str:
    """Return the beginning of the exception's text, which may contain megabytes, or the name of its type if `str()` fails."""
    try:
        return masker.cut(str(failure.value), SHOWN_TEXT)
    except BaseException:
        return type(failure.value).__name__


def _type_and_line(failure: Failure, command: RegisteredCommand) -> str:
    """Return the exception's type and the line of the plugin's code, such as "KeyError in weather.py, line 12"."""
    error = failure.value
    assert error is not None
    try:
        directory = Path(inspect.getfile(inspect.unwrap(command.handler))).parent
        line = line_in(directory, error)
    except (TypeError, ValueError):
        # The handler isn't a function, or its decorators are a circle.
        line = None
    name = type(error).__name__
    return name if line is None else f"{name} in {line[0].name}, line {line[1]}"


def _diversion(command: RegisteredCommand | None, settings: Any) -> tuple[bool, bool]:
    """Return whether the settings divert the command's replies to private, and to a thread."""

    def is_in(names: Any) -> bool:
        return bool(names) and command is not None and (command.name in names or "ALL_COMMANDS" in names)

    return is_in(settings.DIVERT_TO_PRIVATE), is_in(settings.DIVERT_TO_THREAD)
