"""Questions of plugins to somebody who has given a command, and their answers."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from errklein.chat import Message, RoomOccupant, rules_of
from errklein.commands import CommandError
from errklein.dispatch._networks import Networks
from errklein.dispatch.replies import Replies
from errklein.ports import Backend
from errklein.running.context import running_command

Place = tuple[str, ...]
"""Who is asked, and where: network, person, how access rules call the person, room, thread."""


MOST_QUESTIONS = 5
"""How many questions one person may have open: plain handlers hold a thread each while they wait for the answer."""


class Reply(str):  # noqa: SLOT000 - it has an attribute
    """What somebody has answered: a string, without white space around it, that knows the `message` it was."""

    message: Message


Answer = Reply
"""The name of the class in values that earlier versions stored."""


class NoAnswer(CommandError, TimeoutError):
    """Nobody has answered in time. A command that doesn't catch it replies with its text."""


class QuestionWithdrawn(CommandError):
    """No answer will come: the plugin was deactivated, or the bot stops. A command replies with its text."""


class Conversations:
    """The questions that wait for an answer. Used on the reactor only."""

    def __init__(self, reactor: Any, networks: Networks, replies: Replies) -> None:
        self._reactor = reactor
        self._networks = networks
        self._replies = replies
        self._open: dict[Place, deque[_Question]] = {}
        self._stopped = False

    @property
    def waiting(self) -> bool:
        """Whether anybody has a question to answer."""
        return bool(self._open)

    def ask(self, plugin: object, message: Message, text: str, timeout: float | None) -> Deferred[Reply]:
        """Send the question to where answers to the message go, and wait for what its sender says there next.

        That is where the message came from, unless the settings divert the command that asks to private or to a thread.
        A second question to the same person in the same place is sent after the answer to the first. Fails with NoAnswer
        so many seconds after the question was sent, without end if `timeout` is None, with QuestionWithdrawn, also if
        the person has MOST_QUESTIONS to answer already, and with what sending raises. May be cancelled.
        """
        if self._stopped:
            return fail(QuestionWithdrawn("The bot is stopping."))
        if not getattr(plugin, "is_activated", True):
            return fail(QuestionWithdrawn("The plugin is deactivated."))
        if timeout is not None and not (isinstance(timeout, (int, float)) and timeout == timeout):
            return fail(ValueError(f"timeout: expected a number of seconds or None, not {timeout!r}"))
        backend = self._networks.of(message)
        asked = self._replies.addressed(backend, message, text, running_command.get(), threaded=True)
        place = _place_of(asked, backend, message)
        if sum(len(questions) for other, questions in self._open.items() if other[:3] == place[:3]) >= MOST_QUESTIONS:
            return fail(QuestionWithdrawn(f"You have {MOST_QUESTIONS} questions to answer already."))
        withdrawn = Failure(QuestionWithdrawn("The question was withdrawn."))
        answered: Deferred[Reply] = Deferred(lambda _: self._end(question, withdrawn))
        question = _Question(plugin, backend, asked, timeout, place, answered)
        waiting = self._open.setdefault(place, deque())
        waiting.append(question)
        if len(waiting) == 1:
            self._send(question)
        return answered

    def take(self, backend: Backend, message: Message) -> bool:
        """Take the message for the answer to a question, if its sender was asked one there."""
        place = _place(backend, message)
        waiting = self._open.get(place)
        if not waiting and message.is_threaded:
            # Where messages have no ids, a thread that a question has begun is known by how it begins.
            waiting = self._open.get((*place[:-1], ""))
            if waiting and _thread(waiting[0].asked) != place[-1]:
                return False
        if not waiting:
            return False
        reply = Reply(message.body.strip())
        reply.message = message
        self._end(waiting[0], reply)
        return True

    def withdraw(self, plugin: object) -> None:
        """The plugin waits for no answer any more."""
        self._end_all(lambda question: question.plugin is plugin, "The plugin is deactivated.")

    def stop(self) -> None:
        """Nobody waits for an answer any more."""
        self._stopped = True
        self._end_all(lambda _: True, "The bot is stopping.")

    def _end(self, question: _Question, result: Reply | Failure) -> None:
        """The question is done with; the next one to the same person is sent."""
        waiting = self._open[question.place]
        first = waiting[0] is question
        waiting.remove(question)
        if not waiting:
            del self._open[question.place]
        if question.clock is not None and question.clock.active():
            question.clock.cancel()
        question.answered.callback(result)
        if first and waiting:
            self._send(waiting[0])

    def _send(self, question: _Question) -> None:
        try:
            # The answer may be there before sending has come to its end.
            if question.timeout is not None:
                late = Failure(NoAnswer(f"There was no answer in {question.timeout:g} s."))
                question.clock = self._reactor.callLater(max(0, question.timeout), self._end, question, late)
            self._replies.deliver(question.backend, question.asked)
        except Exception:
            self._end(question, Failure())

    def _end_all(self, ends: Any, reason: str) -> None:
        ending = [question for waiting in self._open.values() for question in waiting if ends(question)]
        # From the last one on, so that none is sent only to be withdrawn.
        for question in reversed(ending):
            self._end(question, Failure(QuestionWithdrawn(reason)))


@dataclass(eq=False)
class _Question:
    plugin: object
    backend: Backend
    asked: Message
    timeout: float | None
    place: Place
    answered: Deferred[Reply]
    clock: IDelayedCall | None = None


def _place(backend: Backend, message: Message) -> Place:
    sender: Any = message.frm
    room = ""
    if message.is_group:
        room = str(sender.room if isinstance(sender, RoomOccupant) else message.to)
    names = (str(getattr(sender, "person", sender)), str(getattr(sender, "aclattr", "")), room)
    # The spelling of nick and room may change before the answer.
    fold = rules_of(sender).fold
    return backend.network, *map(fold, names), _thread(message)


def _place_of(question: Message, backend: Backend, message: Message) -> Place:
    """Who is asked by the question, which answers the message, and where."""
    *who, room, thread = _place(backend, message)
    if message.is_group and not question.is_group:
        room = thread = ""
    elif question.parent is not None and not message.is_threaded:
        # Where messages have no ids there may be no threads either, and the answer may be in none.
        thread = _thread(question) if _id_of(question.parent) else ""
    return (*who, room, thread)


def _thread(message: Message) -> str:
    """The thread that the message is in, by the message that it hangs on; "" if it is in none."""
    return "" if message.parent is None else f"of {_id_of(message.parent) or message.parent.body}"


def _id_of(message: Message) -> str:
    """What its network calls the message; "" if it doesn't tell."""
    extras = message.extras if isinstance(message.extras, Mapping) else {}
    return str(extras.get("id") or extras.get("thread_id") or "")
