"""Questions of plugins to somebody who has given a command, and their answers."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from errklein.chat import Message, RoomOccupant
from errklein.commands import CommandError
from errklein.ports import Backend

if TYPE_CHECKING:
    from errklein.bot import Bot

Place = tuple[str, ...]
"""Who is asked, and where: network, person, how access rules call the person, room, thread."""


MOST_QUESTIONS = 5
"""How many questions one person may have open: plain handlers hold a thread each while they wait for the answer."""


class Answer(str):  # noqa: SLOT000 - it has an attribute
    """What somebody has answered: a string, without white space around it, that knows the `message` it was."""

    message: Message

    @classmethod
    def of(cls, message: Message) -> Answer:
        """The answer that the message is."""
        answer = cls(message.body.strip())
        answer.message = message
        return answer


class NoAnswer(CommandError, TimeoutError):
    """Nobody has answered in time. A command that doesn't catch it replies with its text."""


class QuestionWithdrawn(CommandError):
    """No answer will come: the plugin was deactivated, or the bot stops. A command replies with its text."""


class Conversations:
    """The questions that wait for an answer. Used on the reactor only."""

    def __init__(self, bot: Bot) -> None:
        self._bot = bot
        self._open: dict[Place, deque[_Question]] = {}
        self._stopped = False

    @property
    def waiting(self) -> bool:
        """Whether anybody has a question to answer."""
        return bool(self._open)

    def ask(self, plugin: object, message: Message, text: str, timeout: float | None) -> Deferred[Answer]:
        """Send the question to where the message came from, and wait for what its sender says there next.

        A second question to the same person in the same place is sent after the answer to the first. Fails with NoAnswer
        so many seconds after the question was sent, without end if `timeout` is None, with QuestionWithdrawn, also if
        the person has MOST_QUESTIONS to answer already, and with what sending raises. May be cancelled.
        """
        if self._stopped:
            return fail(QuestionWithdrawn("The bot is stopping."))
        backend = self._bot.backend_of_message(message)
        place = _place(backend, message)
        if sum(len(questions) for other, questions in self._open.items() if other[:3] == place[:3]) >= MOST_QUESTIONS:
            return fail(QuestionWithdrawn(f"You have {MOST_QUESTIONS} questions to answer already."))
        question = _Question(self, plugin, backend, message, text, timeout, place)
        waiting = self._open.setdefault(place, deque())
        waiting.append(question)
        if len(waiting) == 1:
            self._send(question)
        return question.answered

    def take(self, backend: Backend, message: Message) -> bool:
        """Take the message for the answer to a question, if its sender was asked one there."""
        waiting = self._open.get(_place(backend, message))
        if not waiting:
            return False
        self.end(waiting[0], Answer.of(message))
        return True

    def withdraw(self, plugin: object) -> None:
        """The plugin waits for no answer any more."""
        self._end_all(lambda question: question.plugin is plugin, "The plugin is deactivated.")

    def stop(self) -> None:
        """Nobody waits for an answer any more."""
        self._stopped = True
        self._end_all(lambda _: True, "The bot is stopping.")

    def end(self, question: _Question, result: Answer | Failure) -> None:
        """The question is done with; the next one to the same person is sent."""
        waiting = self._open[question.place]
        first = waiting[0] is question
        waiting.remove(question)
        if not waiting:
            del self._open[question.place]
        question.stop_clock()
        question.answered.callback(result)
        if first and waiting:
            self._send(waiting[0])

    def _send(self, question: _Question) -> None:
        # The answer may be there before sending has come to its end.
        question.start_clock(self._bot.reactor)
        try:
            self._bot.dispatcher.answers.reply(question.backend, question.message, question.text, threaded=True)
        except Exception:
            self.end(question, Failure())

    def _end_all(self, ends: Any, reason: str) -> None:
        ending = [question for waiting in self._open.values() for question in waiting if ends(question)]
        # From the last one on, so that none is sent only to be withdrawn.
        for question in reversed(ending):
            self.end(question, Failure(QuestionWithdrawn(reason)))


class _Question:
    def __init__(
        self,
        conversations: Conversations,
        plugin: object,
        backend: Backend,
        message: Message,
        text: str,
        timeout: float | None,
        place: Place,
    ) -> None:
        self.plugin = plugin
        self.backend = backend
        self.message = message
        self.text = text
        self.place = place
        self.answered: Deferred[Answer] = Deferred(self._cancelled)
        self._conversations = conversations
        self._timeout = timeout
        self._clock: IDelayedCall | None = None

    def start_clock(self, reactor: Any) -> None:
        """The question is being sent; an answer may come from now on."""
        if self._timeout is not None:
            self._clock = reactor.callLater(self._timeout, self._too_late)

    def stop_clock(self) -> None:
        """It isn't waited for any more."""
        if self._clock is not None and self._clock.active():
            self._clock.cancel()

    def _too_late(self) -> None:
        self._conversations.end(self, Failure(NoAnswer(f"There was no answer in {self._timeout:g} s.")))

    def _cancelled(self, _: Deferred[Answer]) -> None:
        self._conversations.end(self, Failure(QuestionWithdrawn("The question was withdrawn.")))


def _place(backend: Backend, message: Message) -> Place:
    sender: Any = message.frm
    room = ""
    if message.is_group:
        room = str(sender.room if isinstance(sender, RoomOccupant) else message.to)
    person = str(getattr(sender, "person", sender))
    return backend.network, person, str(getattr(sender, "aclattr", "")), room, _thread(message)


def _thread(message: Message) -> str:
    """The thread that the message is in, by what its network calls the message that it hangs on."""
    if message.parent is None:
        return ""
    extras = message.parent.extras
    return str(extras.get("id") or extras.get("thread_id") or message.parent.body)
