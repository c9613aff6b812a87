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
from errklein.text.masking import masker

if TYPE_CHECKING:
    from errklein.chat.fallbacks import Offer

MOST_WITH_BUTTONS = 100
"""Maximum number of open questions with buttons in a room or conversation; without buttons, it is MOST_QUESTIONS."""

LONGEST_LABEL, MOST_CHOICES = 75, 100

NOT_OPEN = "This question isn't open any more."
NOT_PERMITTED = "You may not answer this question."

Permits = Callable[[Identifier], bool]
Denial = Callable[[Backend, Message, RegisteredCommand], str | None]


class Choice(str):  # noqa: SLOT000 - it has attributes
    """The label that was chosen, `by` whom, its position from 0, the address of the question, and the message that answers it."""

    by: Identifier
    number: int
    ref: MessageRef | None = None
    message: Message | None = None


@dataclass(eq=False, repr=False)
class Asking(Deferred[Choice]):
    """An open question, which fires with the choice. `sent` is the handle of its message; None before it is sent."""

    plugin: object
    backend: Backend
    asked: Message
    permits: Permits
    offer: Offer
    canceller: Callable[[Any], None]
    timeout: float | None = None
    sent: Receipt | None = None
    clock: IDelayedCall | None = None
    refused: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__(self.canceller)

    @property
    def refs(self) -> Sequence[MessageRef]:
        return () if self.sent is None else self.sent.refs

    def is_at(self, target: Handle | MessageRef | str) -> bool:
        if isinstance(target, MessageRef):
            return any(ref[:3] == target[:3] for ref in self.refs)
        return self.sent is not None and str(self.sent) == target

    def is_beside(self, other: Asking) -> bool:
        """Return whether a text can't name which of both questions it answers."""
        here, there = self.asked, other.asked
        has_texts = not (self.offer.buttons or other.offer.buttons) and self.backend is other.backend
        return has_texts and here.to == there.to and (here.thread == there.thread or not self.offer.threads)

    def is_answered_in(self, message: Message) -> bool:
        """Return whether the message is in the room or conversation and the thread of the question."""
        sender, to = message.frm, self.asked.to
        if message.is_group:
            is_there = to == (sender.room if isinstance(sender, RoomOccupant) else message.to)
        else:
            is_there = isinstance(to, Person) and sender is not None and _is_of(to, sender)
        threads = {self.asked.thread if self.offer.threads else "", *(ref.id for ref in self.refs)}
        return is_there and message.thread in threads


class Choices:
    """The open questions with choices of all plugins and flows. It is used on the reactor only.

    `denial` returns why a command is denied to the sender of a message, or None; see `Permissions.denial`.
    """

    log = Logger()
    note: Callable[[str, str], None] = staticmethod(lambda who, text: None)
    """Stores what a person has chosen."""

    def __init__(
        self, reactor: Any, networks: Networks, replies: Replies, conversations: Conversations, denial: Denial
    ) -> None:
        self._reactor, self._networks, self._replies = reactor, networks, replies
        self._conversations, self._denial = conversations, denial
        self.open: list[Asking] = []

    def choose(
        self, plugin: object, to: Message | Identifier, question: str, choices: Sequence[str], who: Any, timeout: Any
    ) -> Deferred[Choice]:
        """Ask in reply to a message, or in a room or conversation; see `BotPlugin.choose`. Without buttons, a question is sent
        after those before it in the same place. Fails as `Conversations.ask`, and with ValueError for invalid arguments."""
        if (refusal := self._conversations.refusal(plugin, timeout)) is not None:
            return fail(refusal)
        try:
            labels = _labels(question, choices)
            if not isinstance(to, Message | Identifier):
                raise ValueError(f"choose(): expected a message, a room or a person, not {to!r:.80}")
            backend = self._networks.of(to)
            if isinstance(to, Message):
                asked = self._replies.addressed(backend, to, question, running_command.get())
            else:
                asked = Message(question, backend.bot_identifier, to)
            permits = self._permits(backend, to, who)
        except (TypeError, ValueError) as error:
            return fail(error)
        asked.choices = labels
        return self.ask(plugin, backend, asked, permits, timeout=timeout)

    def ask(self, plugin: object, backend: Backend, asked: Message, permits: Permits, **details: Any) -> Asking:
        """Send a question of a plugin, or of a flow, unless an earlier process has `sent` it."""
        from errklein.chat.fallbacks import offer

        assert asked.to is not None
        # A later process would send what nobody waits for.
        asked.unstored = True
        shown = offer(asked.choices, backend.features(asked.to))
        cancel = partial(self._withdraw, reason="The question was withdrawn.")
        asking = Asking(plugin, backend, asked, permits, shown, cancel, **details)
        here = [one for one in self.open if one.backend is backend and one.asked.to == asked.to]
        most = MOST_WITH_BUTTONS if shown.buttons else MOST_QUESTIONS
        if len(here) >= most:
            asking.errback(QuestionWithdrawn(f"There are already {most} open questions; answer one of them first."))
            return asking
        self.open.append(asking)
        if asking.sent is None and not any(map(asking.is_beside, here)):
            self._send(asking)
        return asking

    def press(self, backend: Backend, press: Press) -> str:
        """Return why the press of a button counts for nothing; "" if it counts."""
        there = [one for one in self.open if one.backend is backend and one.offer.buttons]
        asking = next((one for one in there if one.is_at(press.ref)), None)
        if asking is None or not 0 <= press.number < len(asking.asked.choices):
            # The press of an earlier question's button must not answer another question.
            is_sending = any(not one.refs and str(one.asked.to) == press.ref.room for one in there)
            return "The question is still being sent; try again." if is_sending else NOT_OPEN
        if not asking.permits(press.by):
            return NOT_PERMITTED
        self._choose(asking, press.number, press.by, None)
        return ""

    def take(self, backend: Backend, message: Message) -> bool:
        """Return whether the message answers an open question that has no buttons; if so, end the question with it."""
        from errklein.chat.fallbacks import chosen

        sender = message.frm
        for asking in self.open:
            if sender is None or asking.backend is not backend or asking.offer.buttons or asking.sent is None:
                continue
            number = chosen(message.body, asking.asked.choices)
            if number is None or not asking.is_answered_in(message):
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
        for asking in [one for one in self.open if one.is_at(target)]:
            self._end(asking, Failure(QuestionWithdrawn("The question was changed.")))

    def withdraw(self, plugin: object) -> None:
        """End the open questions of the plugin."""
        # In reverse order: ending the first one would send the next.
        for asking in [one for one in reversed(self.open) if one.plugin is plugin]:
            self._withdraw(asking, "The plugin is deactivated.")

    def stop(self) -> None:
        """End all open questions, apart from those of flows, which a later process has again."""
        self.open = [one for one in self.open if not isinstance(one.plugin, Flow)]
        for asking in self.open[::-1]:
            self._withdraw(asking, "The bot is stopping.")

    def _withdraw(self, asking: Asking, reason: str) -> None:
        self._end(asking, Failure(QuestionWithdrawn(reason)), "*Withdrawn.*")

    def _permits(self, backend: Backend, to: Message | Identifier, who: Any) -> Permits:
        if who is None and isinstance(to, Room):
            command, places = running_command.get(), (to, backend.bot_identifier)

            def may_run(by: Identifier) -> bool:
                messages = [Message(frm=by, to=place) for place in places]
                return command is None or any(self._denial(backend, one, command) is None for one in messages)

            return may_run
        given = (to.frm if isinstance(to, Message) else to) if who is None else who
        people = [given] if isinstance(given, str | Identifier) else list(given or ())
        if not people or not all(isinstance(one, str | Person | RoomOccupant) for one in people):
            wanted = "a person, a text as in `allowusers`, or several"
            raise ValueError(f"choose(): `who` must be {wanted}, not {who!r:.80}")
        patterns = [one for one in people if isinstance(one, str)]
        named = [one for one in people if not isinstance(one, str)]
        return lambda by: is_named(by, patterns) or any(_is_of(one, by) for one in named)

    def _send(self, asking: Asking) -> None:
        try:
            # An answer may arrive before `deliver` returns.
            if asking.timeout is not None:
                late = Failure(NoAnswer(f"There was no answer within {asking.timeout:g} s."))
                text = "*There was no answer in time.*"
                asking.clock = self._reactor.callLater(max(0, asking.timeout), self._end, asking, late, text)
            asking.sent = sent = self._replies.deliver(asking.backend, asking.asked)
            sent.watch().addErrback(lambda failure: self._end(asking, failure))
        except Exception:
            self._end(asking, Failure())

    def _choose(self, asking: Asking, number: int, by: Identifier, message: Message | None) -> None:
        asked, choice = asking.asked, Choice(asking.asked.choices[number])
        choice.by, choice.number, choice.message = by, number, message
        choice.ref = asking.refs[-1] if asking.refs else None
        shown = sha256("\n".join([asked.body, *asked.choices]).encode("utf-8", "replace")).hexdigest()
        question, where = " ".join(truncated(asked.body, 200).split()), "" if asked.is_direct else f" in {asked.to}"
        person = str(getattr(by, "person", by))
        self.note(person, masker(f'"{choice}" to "{question}"{where} on {asking.backend.network}, sha256 {shown}'))
        self._end(asking, choice, f"**{plain(choice)}** ({plain(str(getattr(by, 'nick', None) or person))})")

    def _end(self, asking: Asking, result: Choice | Failure, shown: str = "") -> None:
        """End the question with the result. Its message gets the text `shown` in place of the buttons."""
        if asking not in self.open:
            return
        self.open.remove(asking)
        if asking.clock is not None and asking.clock.active():
            asking.clock.cancel()
        asked, sent, refs = asking.asked, asking.sent, asking.refs
        if shown and sent is not None and asking.offer.edits:
            edit = Message(f"{asked.body}\n\n{shown}", asked.frm, asked.to)
            edit.unstored = True
            # An earlier process may have sent it, whose handles of what isn't stored aren't known.
            target = refs[0] if len(refs) == 1 else str(sent)
            try:
                asking.backend.perform(edit, Wanted(Kind.EDIT, target, asked.thread))
            except Exception:
                self.log.failure("The message of a question can't be changed")
        if isinstance(result, Choice):
            # The network acknowledges a press at once, whatever the plugin does then.
            self._reactor.callLater(0, asking.callback, result)
        else:
            asking.errback(result)
        waiting = next((one for one in self.open if one.sent is None and one.is_beside(asking)), None)
        if sent is not None and waiting is not None:
            self._send(waiting)


def _labels(question: object, choices: Sequence[object]) -> tuple[str, ...]:
    if not isinstance(question, str) or not question.strip():
        raise ValueError(f"choose(): the question must be a text, not {question!r:.80}")
    labels = [" ".join(label.split()) if isinstance(label, str) else "" for label in choices]
    are_valid = all(0 < len(label) <= LONGEST_LABEL for label in labels) and 0 < len(labels) <= MOST_CHOICES
    if isinstance(choices, str) or not are_valid or len({label.casefold() for label in labels}) < len(labels):
        few = f"1 to {MOST_CHOICES} different texts of at most {LONGEST_LABEL} characters"
        raise ValueError(f"choose(): expected {few} as choices, not {choices!r:.80}")
    return tuple(labels)


def _is_of(person: Identifier, by: Identifier) -> bool:
    """Return whether two identifiers are those of one person, in whatever room."""
    names = {rules_of(by).fold(str(getattr(one, "person", one))) for one in (person, by)}
    return len(names) == 1 and same_network(person, by) and same_person(person, by)
