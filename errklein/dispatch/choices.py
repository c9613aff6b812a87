"""Questions with choices, which `BotPlugin.choose` asks, and the buttons or texts with which people choose."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from errklein.chat import Identifier, Message, Person, Room, RoomOccupant, rules_of, same_network
from errklein.chat.handles import Handle, MessageRef
from errklein.chat.operations import Kind, Press, Wanted
from errklein.commands import RegisteredCommand
from errklein.commands.access import is_named
from errklein.commands.flows import Flow, same_person
from errklein.dispatch._networks import Networks
from errklein.dispatch.conversations import MOST_QUESTIONS, Conversations, NoAnswer, QuestionWithdrawn
from errklein.dispatch.replies import Replies, build_reply
from errklein.ports.chat import Backend
from errklein.ports.receipts import Receipt
from errklein.running.context import running_command
from errklein.text import plain, truncated

if TYPE_CHECKING:
    from errklein.chat.fallbacks import Offer

MOST_WITH_BUTTONS = 100
"""Maximum number of open questions with buttons in a room or conversation; without buttons, it is MOST_QUESTIONS."""

LONGEST_LABEL, MOST_CHOICES = 75, 100

NOT_OPEN = "This question isn't open any more."
NOT_PERMITTED = "You may not answer this question."

Permits = Callable[[Identifier], bool]
"""Returns whether a person may choose."""


class Choice(str):  # noqa: SLOT000 - it has attributes
    """The answer to a question with choices: the label that was chosen, as a string.

    :ivar by: The person who has chosen; in a room, the occupant.
    :ivar number: The position of the label in `choices`, from 0.
    :ivar ref: The address of the question's message; None on networks without ids.
    :ivar message: The message with the answer; None if a button was pressed.
    """

    by: Identifier
    number: int
    ref: MessageRef | None = None
    message: Message | None = None


class Asking(Deferred[Choice]):
    """Fires with the choice. `sent` is the handle of the question's message; None before it is sent."""

    sent: Receipt | None = None


@dataclass(eq=False)
class _Asked:
    plugin: object
    backend: Backend
    asked: Message
    permits: Permits
    offer: Offer
    answered: Asking
    timeout: float | None = None
    clock: IDelayedCall | None = None
    refused: set[str] = field(default_factory=set)

    @property
    def refs(self) -> Sequence[MessageRef]:
        sent = self.answered.sent
        return () if sent is None else sent.refs

    def is_at(self, ref: MessageRef) -> bool:
        """Return whether the address is that of the question's message, in whatever thread."""
        return any(one[:3] == ref[:3] for one in self.refs)

    def is_beside(self, other: _Asked) -> bool:
        """Return whether a text can't name which of both questions it answers."""
        here, there = self.asked, other.asked
        if self.offer.buttons or other.offer.buttons or self.backend is not other.backend:
            return False
        return here.to == there.to and (here.thread == there.thread or not self.offer.threads)

    def is_answered_in(self, message: Message) -> bool:
        """Return whether the message is in the room or conversation and the thread of the question."""
        sender, to = message.frm, self.asked.to
        if message.is_group:
            is_there = to == (sender.room if isinstance(sender, RoomOccupant) else message.to)
        else:
            is_there = isinstance(to, Person) and sender is not None and _has_name_of(to, sender)
        threads = {self.asked.thread if self.offer.threads else "", *(ref.id for ref in self.refs)}
        return is_there and message.thread in threads


class Choices:
    """The open questions with choices of all plugins. It is used on the reactor only.

    :param denial: Returns why a command is denied to the sender of a message, or None; see `Permissions.denial`.
    """

    log = Logger()
    note: Callable[[str, str], None] = staticmethod(lambda who, text: None)
    """Stores what a person has chosen."""

    def __init__(
        self,
        reactor: Any,
        networks: Networks,
        replies: Replies,
        conversations: Conversations,
        denial: Callable[[Backend, Message, RegisteredCommand], str | None],
    ) -> None:
        self._reactor, self._networks, self._replies = reactor, networks, replies
        self._conversations, self._denial = conversations, denial
        self.open: list[_Asked] = []

    def choose(
        self,
        plugin: object,
        to: Message | Identifier,
        question: str,
        choices: Sequence[str],
        who: object = None,
        timeout: float | None = None,
    ) -> Deferred[Choice]:
        """Ask in reply to a message, or in a room or conversation; return a Deferred of the choice. See `BotPlugin.choose`.

        On networks without buttons, a question is sent after those before it in the same place have ended.

        The Deferred fails as that of `Conversations.ask`, and with ValueError for invalid arguments.
        """
        if (refusal := self._conversations.refusal(plugin, timeout)) is not None:
            return fail(refusal)
        try:
            labels = _labels(question, choices)
            if not isinstance(to, Message | Identifier):
                raise ValueError(f"choose(): expected a message, a room or a person, not {to!r:.80}")
            backend, command = self._networks.of(to), running_command.get()
            if isinstance(to, Message):
                asked = self._replies.addressed(backend, to, question, command)
            else:
                asked = backend.build_message(question)
                asked.frm, asked.to = backend.bot_identifier, to
            permits = self._permits(backend, to, asked, who)
        except (TypeError, ValueError) as error:
            return fail(error)
        asked.choices = labels
        return self.ask(plugin, backend, asked, permits, timeout)

    def ask(
        self,
        plugin: object,
        backend: Backend,
        asked: Message,
        permits: Permits,
        timeout: float | None,
        sent: Receipt | None = None,
    ) -> Asking:
        """Send a question, unless an earlier process has sent it; see `choose`.

        :param plugin: The plugin, or a flow, whose questions stay open when the bot stops.
        """
        from errklein.chat.fallbacks import Offer

        assert asked.to is not None
        # A later process would send what nobody waits for.
        asked.unstored = True
        offer = Offer.of(asked.choices, backend.features(asked.to))
        answered = Asking(lambda _: self._withdraw(asking, "The question was withdrawn."))
        answered.sent = sent
        asking = _Asked(plugin, backend, asked, permits, offer, answered, timeout)
        here = [one for one in self.open if one.backend is backend and one.asked.to == asked.to]
        most = MOST_WITH_BUTTONS if offer.buttons else MOST_QUESTIONS
        if len(here) >= most:
            withdrawn = QuestionWithdrawn(f"There are already {most} open questions; answer one of them first.")
            answered.errback(withdrawn)
            return answered
        must_wait = any(map(asking.is_beside, here))
        self.open.append(asking)
        if sent is None and not must_wait:
            self._send(asking)
        return answered

    def press(self, backend: Backend, press: Press) -> str:
        """Return why the press of a button counts for nothing; "" if it counts."""
        there = [one for one in self.open if one.backend is backend and one.offer.buttons]
        asking = next((one for one in there if one.is_at(press.ref)), None)
        if asking is None:
            # The press of an earlier question's button must not answer this one.
            is_sending = any(not one.refs and str(one.asked.to) == press.ref.room for one in there)
            return "The question is still being sent; try again." if is_sending else NOT_OPEN
        if not 0 <= press.number < len(asking.asked.choices):
            return NOT_OPEN
        if not asking.permits(press.by):
            return NOT_PERMITTED
        self._choose(asking, press.number, press.by, None)
        return ""

    def take(self, backend: Backend, message: Message) -> bool:
        """Return whether the message answers an open question that has no buttons; if so, end the question with it."""
        from errklein.chat.fallbacks import chosen

        for asking in self.open:
            if asking.backend is not backend or asking.offer.buttons or asking.answered.sent is None:
                continue
            number, sender = chosen(message.body, asking.asked.choices), message.frm
            if number is None or sender is None or not asking.is_answered_in(message):
                continue
            if asking.permits(sender):
                self._choose(asking, number, sender, message)
                return True
            if str(sender) not in asking.refused:
                asking.refused.add(str(sender))
                settings = self._networks.config(backend)
                self._replies.deliver(backend, build_reply(backend, message, NOT_PERMITTED, True, False, settings))
        return False

    def changed(self, target: Handle | MessageRef | str) -> None:
        """End the question whose message a plugin edits or deletes: people would choose for another text."""
        for asking in list(self.open):
            sent = asking.answered.sent
            if asking.is_at(target) if isinstance(target, MessageRef) else sent is not None and str(sent) == target:
                self._end(asking, Failure(QuestionWithdrawn("The question was changed.")), "")

    def withdraw(self, plugin: object) -> None:
        """End the open questions of the plugin."""
        self._withdraw_all(lambda asking: asking.plugin is plugin, "The plugin is deactivated.")

    def stop(self) -> None:
        """End all open questions, apart from those of flows, which a later process has again."""
        self.open = [one for one in self.open if not isinstance(one.plugin, Flow)]
        self._withdraw_all(lambda _: True, "The bot is stopping.")

    def _withdraw_all(self, ends: Callable[[_Asked], bool], reason: str) -> None:
        # In reverse order: ending the first one would send the next.
        for asking in [one for one in reversed(self.open) if ends(one)]:
            self._withdraw(asking, reason)

    def _withdraw(self, asking: _Asked, reason: str) -> None:
        self._end(asking, Failure(QuestionWithdrawn(reason)), "*Withdrawn.*")

    def _permits(self, backend: Backend, to: Message | Identifier, asked: Message, who: Any) -> Permits:
        if who is None and isinstance(to, Room):
            command = running_command.get()
            return lambda by: command is None or self._may_run(backend, command, by, asked)
        given = (to.frm if isinstance(to, Message) else to) if who is None else who
        people = [given] if isinstance(given, str | Identifier) else list(given or ())
        if not people or not all(isinstance(one, str | Person | RoomOccupant) for one in people):
            raise ValueError(
                f"choose(): `who` must be a person, a text as in `allowusers`, or several, not {who!r:.80}"
            )
        patterns = [one for one in people if isinstance(one, str)]
        named = [one for one in people if not isinstance(one, str)]
        return lambda by: is_named(by, patterns) or any(_has_name_of(one, by) for one in named)

    def _may_run(self, backend: Backend, command: RegisteredCommand, by: Identifier, asked: Message) -> bool:
        """Return whether a person may run the command in the room of the question, or in private."""
        places = (asked.to, backend.bot_identifier)
        return any(self._denial(backend, Message(frm=by, to=place), command) is None for place in places)

    def _send(self, asking: _Asked) -> None:
        try:
            # An answer may arrive before `deliver` returns.
            if asking.timeout is not None:
                late = Failure(NoAnswer(f"There was no answer within {asking.timeout:g} s."))
                text = "*There was no answer in time.*"
                asking.clock = self._reactor.callLater(max(0, asking.timeout), self._end, asking, late, text)
            asking.answered.sent = sent = self._replies.deliver(asking.backend, asking.asked)
            sent.watch().addErrback(lambda failure: self._end(asking, failure, ""))
        except Exception:
            self._end(asking, Failure(), "")

    def _choose(self, asking: _Asked, number: int, by: Identifier, message: Message | None) -> None:
        asked, label = asking.asked, asking.asked.choices[number]
        choice = Choice(label)
        choice.by, choice.number, choice.message = by, number, message
        choice.ref = asking.refs[-1] if asking.refs else None
        person = str(getattr(by, "person", by))
        where = "" if asked.is_direct else f" in {asked.to}"
        question = " ".join(truncated(asked.body, 200).split())
        digest = shown_digest(asked)
        self.note(person, f'"{label}" to "{question}"{where} on {asking.backend.network}, sha256 {digest}')
        name = str(getattr(by, "nick", None) or person)
        self._end(asking, choice, f"**{plain(label)}** ({plain(name)})")

    def _end(self, asking: _Asked, result: Choice | Failure, shown: str) -> None:
        """End the question with the result. Its message gets the text `shown` in place of the buttons."""
        if asking not in self.open:
            return
        self.open.remove(asking)
        if asking.clock is not None and asking.clock.active():
            asking.clock.cancel()
        sent, asked = asking.answered.sent, asking.asked
        if shown and sent is not None and asking.offer.edits:
            edit = Message(f"{asked.body}\n\n{shown}", asked.frm, asked.to)
            edit.unstored = asked.unstored
            refs = asking.refs
            try:
                # An earlier process may have sent it, whose handles of what isn't stored aren't known.
                target = refs[0] if len(refs) == 1 else str(sent)
                asking.backend.perform(edit, Wanted(Kind.EDIT, target, asked.thread))
            except Exception:
                self.log.failure("The message of a question can't be changed")
        fire = partial(asking.answered.callback, result)
        if isinstance(result, Choice):
            # The network acknowledges a press at once, whatever the plugin does then.
            self._reactor.callLater(0, fire)
        else:
            fire()
        waiting = next((one for one in self.open if one.answered.sent is None and one.is_beside(asking)), None)
        if sent is not None and waiting is not None:
            self._send(waiting)


def shown_digest(asked: Message) -> str:
    """Return the SHA-256 of a question: its text and its labels, each on a line of its own."""
    return sha256("\n".join([asked.body, *asked.choices]).encode("utf-8", "replace")).hexdigest()


def _labels(question: object, choices: object) -> tuple[str, ...]:
    if not isinstance(question, str) or not question.strip():
        raise ValueError(f"choose(): the question must be a text, not {question!r:.80}")
    given = list(choices) if isinstance(choices, Sequence) and not isinstance(choices, str) else []
    labels = tuple(" ".join(label.split()) if isinstance(label, str) else "" for label in given)
    is_valid = all(0 < len(label) <= LONGEST_LABEL for label in labels) and 0 < len(labels) <= MOST_CHOICES
    if not is_valid or len({label.casefold() for label in labels}) < len(labels):
        few = f"1 to {MOST_CHOICES} different texts of at most {LONGEST_LABEL} characters"
        raise ValueError(f"choose(): expected {few} as choices, not {choices!r:.80}")
    return labels


def _has_name_of(person: Identifier, by: Identifier) -> bool:
    """Return whether two identifiers are those of one person, in whatever room."""
    fold = rules_of(by).fold
    names = {fold(str(getattr(one, "person", one))) for one in (person, by)}
    return len(names) == 1 and same_network(person, by) and same_person(person, by)
