"""Questions that a command asks its sender with `BotPlugin.ask`, and the replies to them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from errklein.chat import Message, RoomOccupant, rules_of
from errklein.commands import CommandError
from errklein.dispatch._networks import Networks
from errklein.dispatch.replies import Replies
from errklein.ports.chat import Backend
from errklein.running.context import running_command

Key = tuple[str, ...]
"""Identifies the person whose message answers a question: network, person, name in access rules, room, thread."""

MOST_QUESTIONS = 5
"""Maximum number of open questions for one person. A handler in a thread holds it meanwhile, or, if others wait, for 5 s."""


class Reply(str):  # noqa: SLOT000 - it has an attribute
    """The reply to a question: a stripped string, with the received message in the attribute `message`."""

    message: Message


Answer = Reply  # the name of the class in values that earlier versions stored


class NoAnswer(CommandError, TimeoutError):
    """No reply to a question was received in time. If the command doesn't catch the exception, its text is the reply."""


class QuestionWithdrawn(CommandError):
    """A question has ended without a reply: the plugin was deactivated, the bot is stopping, or the call was cancelled.
    If the command doesn't catch the exception, its text is the reply."""


class Conversations:
    """The open questions of all plugins. It is used on the reactor only."""

    def __init__(self, reactor: Any, networks: Networks, replies: Replies) -> None:
        self._reactor = reactor
        self._networks = networks
        self._replies = replies
        self.open: dict[Key, deque[_Question]] = {}  # the open questions; the first one of each key has been sent
        self._stopped = False

    def ask(self, plugin: object, message: Message, text: str, timeout: float | None) -> Deferred[Reply]:
        """Send a question to the sender of the message; return a Deferred of the reply, the sender's next message there.

        The question is sent to where the message came from, unless the settings divert the replies of the running command to
        private or to a thread. A second question to the same person in the same room and thread is sent after the first reply.

        The Deferred fails with NoAnswer if there is no reply within `timeout` seconds after sending (None: no limit), with
        QuestionWithdrawn, also if the person already has MOST_QUESTIONS open questions, or with the error of sending.
        Cancelling it withdraws the question.
        """
        if (refusal := self.refusal(plugin, timeout)) is not None:
            return fail(refusal)
        backend = self._networks.of(message)
        asked = self._replies.addressed(backend, message, text, running_command.get())
        key = _key_of_question(asked, backend, message)
        if sum(len(questions) for other, questions in self.open.items() if other[:3] == key[:3]) >= MOST_QUESTIONS:
            return fail(QuestionWithdrawn(f"You already have {MOST_QUESTIONS} open questions; reply to one first."))
        withdrawn = Failure(QuestionWithdrawn("The question was withdrawn."))
        answered: Deferred[Reply] = Deferred(lambda _: self._end(question, withdrawn))
        question = _Question(plugin, backend, asked, timeout, key, answered)
        waiting = self.open.setdefault(key, deque())
        waiting.append(question)
        if len(waiting) == 1:
            self._send(question)
        return answered

    def refusal(self, plugin: object, timeout: object) -> Exception | None:
        """Return why the plugin can't ask a question now; None if it can."""
        if self._stopped:
            return QuestionWithdrawn("The bot is stopping.")
        if not getattr(plugin, "is_activated", True):
            return QuestionWithdrawn("The plugin is deactivated.")
        if timeout is not None and not (isinstance(timeout, (int, float)) and timeout == timeout):
            return ValueError(f"timeout must be a number of seconds or None, not {timeout!r}")
        return None

    def take(self, backend: Backend, message: Message) -> bool:
        """Return whether the message is the reply to an open question; if so, end the question with it."""
        key = _key(backend, message)
        waiting = self.open.get(key)
        if not waiting and message.is_threaded:
            # Without message ids, a thread that a question started is identified by the text of the question.
            waiting = self.open.get((*key[:-1], ""))
            if waiting and _thread(waiting[0].asked) != key[-1]:
                return False
        if not waiting:
            return False
        reply = Reply(message.body.strip())
        reply.message = message
        self._end(waiting[0], reply)
        return True

    def withdraw(self, plugin: object) -> None:
        """End the open questions of the plugin."""
        self._end_all(lambda question: question.plugin is plugin, "The plugin is deactivated.")

    def stop(self) -> None:
        """End all open questions, and reject later ones."""
        self._stopped = True
        self._end_all(lambda _: True, "The bot is stopping.")

    def _end(self, question: _Question, result: Reply | Failure) -> None:
        """End the question with the result, and send the next one to the same person."""
        waiting = self.open[question.key]
        first = waiting[0] is question
        waiting.remove(question)
        if not waiting:
            del self.open[question.key]
        if question.clock is not None and question.clock.active():
            question.clock.cancel()
        question.answered.callback(result)
        if first and waiting:
            self._send(waiting[0])

    def _send(self, question: _Question) -> None:
        try:
            # The reply may arrive before `deliver` returns.
            if question.timeout is not None:
                late = Failure(NoAnswer(f"There was no reply within {question.timeout:g} s."))
                question.clock = self._reactor.callLater(max(0, question.timeout), self._end, question, late)
            self._replies.deliver(question.backend, question.asked)
        except Exception:
            self._end(question, Failure())

    def _end_all(self, ends: Any, reason: str) -> None:
        ending = [question for waiting in self.open.values() for question in waiting if ends(question)]
        # In reverse order: ending the first one would send the next.
        for question in reversed(ending):
            self._end(question, Failure(QuestionWithdrawn(reason)))


@dataclass(eq=False)
class _Question:
    plugin: object
    backend: Backend
    asked: Message
    timeout: float | None
    key: Key
    answered: Deferred[Reply]
    clock: IDelayedCall | None = None


def _key(backend: Backend, message: Message) -> Key:
    sender: Any = message.frm
    room = ""
    if message.is_group:
        room = str(sender.room if isinstance(sender, RoomOccupant) else message.to)
    names = (str(getattr(sender, "person", sender)), str(getattr(sender, "aclattr", "")), room)
    # The reply may spell the nick and the room differently.
    fold = rules_of(sender).fold
    return backend.network, *map(fold, names), _thread(message)


def _key_of_question(question: Message, backend: Backend, message: Message) -> Key:
    """Return the key of the question `question`, which is a reply to `message`."""
    *who, room, thread = _key(backend, message)
    if message.is_group and not question.is_group:
        room = thread = ""
    elif question.is_threaded and not message.is_threaded:
        # A network without message ids may have no threads either; then the reply is in none.
        thread = question.thread
    return (*who, room, thread)


def _thread(message: Message) -> str:
    """Return the id of the message's thread, or, without ids, the text of its parent; "" without a thread."""
    return message.thread or ("" if message.parent is None else f"of {message.parent.body}")
