"""What is said to whom has given a command: results, refusals and failures, where the settings want them."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger
from twisted.python.failure import Failure

from errklein.chat import Message
from errklein.commands import CommandError, RegisteredCommand
from errklein.dispatch.disclosure import DetailedError, new_error_id, with_id
from errklein.ports import Backend, OutboxFull, WrapsErrbotBackend
from errklein.running import PoolStopped
from errklein.text.masking import masker

if TYPE_CHECKING:
    from errklein.bot import Bot


class Answers:
    """Sends answers, from any thread."""

    log = Logger()

    def __init__(self, bot: Bot) -> None:
        self._bot = bot

    def reply(
        self,
        backend: Backend,
        message: Message,
        text: str,
        command: RegisteredCommand | None = None,
    ) -> None:
        """Answer the message, in private or in a thread where the settings divert the command."""
        self._bot.deliver(backend, self.addressed(backend, message, text, command))

    def addressed(
        self,
        backend: Backend,
        message: Message,
        text: str,
        command: RegisteredCommand | None = None,
        *,
        threaded: bool = False,
    ) -> Message:
        """The answer to the message as `reply` sends it.

        With `threaded`, what was said in a thread is answered there unless the settings divert the command to private.
        """
        config = self._bot.bot_config.networks[backend.network].now
        private = _diverted(command, config.DIVERT_TO_PRIVATE)
        threaded = threaded and message.is_threaded and not private
        reply = backend.build_reply(
            message, text, private=private, threaded=threaded or _diverted(command, config.DIVERT_TO_THREAD)
        )
        if config.GROUPCHAT_NICK_PREFIXED and reply.is_group and message.frm is not None:
            backend.prefix_groupchat_reply(reply, message.frm)
        return reply

    def give(self, backend: Backend, message: Message, command: RegisteredCommand, item: Any) -> None:
        """Answer with what a command has returned or yielded; nothing for what is empty.

        In a thread this waits for an item that can be awaited.
        """
        if type(item) is not str and isinstance(item, Awaitable):
            item = self._bot.waits.result_of(self._bot.runner.result_of, item)
        if not item:
            return
        template = command.declaration.template
        if template and isinstance(item, Mapping):
            item = self._bot.process_template(template, item, command.owner)
        self.reply(backend, message, str(item), command)

    def failed(self, failure: Failure, backend: Backend, message: Message, command: RegisteredCommand) -> None:
        """Reply to an exception that a command raised, and log it unless it is a CommandError or the like.

        Administrators get the exception's text in private chats, others an error id. Raises OutboxFull if the command
        raised it, since there is no room for a reply.
        """
        error = failure.value
        if isinstance(error, OutboxFull):
            raise error
        if isinstance(error, CommandError):
            try:
                text = str(error)
                if error.template:
                    text = self._bot.process_template(error.template, error.reason, command.owner)
                if isinstance(error, DetailedError):
                    text = self._bot.disclosure.reply(backend, message, text, error.summary)
            except Exception:
                self._fault(Failure(), backend, message, command)
            else:
                self.reply(backend, message, masker.known(text), command)
            return
        if failure.check(PoolStopped):
            self.reply(backend, message, "The bot is stopping; your command was not run.", command)
            return
        self._fault(failure, backend, message, command)

    def _fault(self, failure: Failure, backend: Backend, message: Message, command: RegisteredCommand) -> None:
        owner = backend.legacy if isinstance(backend, WrapsErrbotBackend) else self._bot
        summary: str = owner.MSG_ERROR_OCCURRED
        text = self.faulty(failure, backend, message, command, f"{summary}:\n{told(failure)}", summary)
        self.reply(backend, message, text, command)

    def faulty(
        self, failure: Failure, backend: Backend, message: Message, command: RegisteredCommand, text: str, summary: str
    ) -> str:
        """Log a failure of the command with an error id.

        Returns `text` if the sender may read it (see `Disclosure.allowed`), else `summary` and the error id.
        """
        error_id = new_error_id()
        self.log.failure(
            "{plugin}: the command {command} failed for {sender} (error {error_id})",
            failure,
            plugin=command.owner,
            command=command.name,
            sender=str(message.frm),
            error_id=error_id,
        )
        return masker(text) if self._bot.disclosure.allowed(backend, message) else with_id(summary, error_id)


def told(failure: Failure) -> str:
    """What the exception says of itself; its type, if it can't say anything."""
    try:
        return str(failure.value)
    except BaseException:
        return type(failure.value).__name__


def _diverted(command: RegisteredCommand | None, names: Any) -> bool:
    return bool(names) and command is not None and (command.name in names or "ALL_COMMANDS" in names)
