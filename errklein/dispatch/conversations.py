"""Questions that plugins ask people with `BotPlugin.ask` and `choose`: the messages that reply to them, and buttons that are pressed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from errklein.chat import Identifier, Message, Person, Room, RoomOccupant, rules_of, same_network
from errklein.chat.handles import MessageRef
from errklein.chat.operations import Kind, Press, Wanted, labels_of
from errklein.commands import CommandError, RegisteredCommand
from errklein.commands.access import is_named
from errklein.commands.flows import Flow, same_person
from errklein.dispatch._networks import Networks
from errklein.dispatch.replies import Replies, build_reply
from errklein.ports.chat import Backend
from errklein.ports.receipts import Receipt
from errklein.running.context import running_command
from errklein.text import plain, truncated
from errklein.text.masking import masker

if TYPE_CHECKING:
    from errklein.chat.features import Offer

Key = tuple[str, ...]  # whose message answers a question: network, person, name in access rules, room, thread
Permits = Callable[[Identifier], bool]
Denial = Callable[[Backend, Message, RegisteredCommand], str | None]

MOST_QUESTIONS = 5
"""Maximum number of open questions for one person, and of those with choices in a room or conversation without buttons. A handler in
a thread holds it meanwhile, or, if others wait, for 5 s."""

MOST_WITH_BUTTONS = 100  # maximum number of open questions with buttons in a room or conversation

NOT_OPEN = "This question isn't open any more."
NOT_PERMITTED = "You may not answer this question."


class Reply(str):  # noqa: SLOT000 - it has an attribute
    """The reply to a question: a stripped string, with the received message in the attribute `message`."""

    message: Message


Answer = Reply  # the name of the class in values that earlier versions stored


class Choice(str):  # noqa: SLOT000 - it has attributes
    """The label that was chosen, `by` whom, its position from 0, the address of the question, and the message that answers it."""

    by: Identifier
    number: int
    ref: MessageRef | None = None
    message: Message | None = None


class NoAnswer(CommandError, TimeoutError):
    """No reply to a question was received in time. If the command doesn't catch the exception, its text is the reply."""


class QuestionWithdrawn(CommandError):
    """A question has ended without a reply: the plugin was deactivated or has changed it, the bot is stopping, or the call was
    cancelled. If the command doesn't catch the exception, its text is the reply."""


@dataclass(eq=False, repr=False)
class Asking(Deferred[Any]):
    """An open question, which fires with the reply or choice. `sent` is the handle of its message; None before it is sent. One
    without choices has a key. One with choices has who may choose, and how the network shows it."""

    plugin: object
    backend: Backend
    asked: Message
    canceller: Callable[[Any], None]
    key: Key = ()
    permits: Permits = bool
    offer: Offer | None = None
    timeout: float | None = None
    sent: Receipt | None = None
    begun: bool = False
    clock: IDelayedCall | None = None
    refused: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__(self.canceller)

    @property
    def refs(self) -> Sequence[MessageRef]:
        return () if self.sent is None else self.sent.refs

    def is_at(self, target: str | MessageRef) -> bool:
        if isinstance(target, MessageRef):
            # A room may have a name and an id, which equal each other once the network knows that.
            room = self.backend.build_identifier
            return any(ref.id == target.id and room(ref.room) == room(target.room) for ref in self.refs)
        return self.sent is not None and str(self.sent) == target

    def is_beside(self, other: Asking) -> bool:
        """Return whether a text can't name which of both questions it answers."""
        if self.offer is None or other.offer is None:
            return self.key == other.key
        here, there = self.asked, other.asked
        has_texts = not (self.offer.buttons or other.offer.buttons) and self.backend is other.backend
        return has_texts and here.to == there.to and (here.thread == there.thread or not self.offer.threads)

    def is_answered_in(self, message: Message) -> bool:
        """Return whether the message may be the answer, by its room or conversation and its thread; without choices, also by who sent it."""
        if self.offer is None:
            key = _key(self.backend, message)
            # Without message ids, a thread that a question started is identified by the text of the question.
            is_below = message.is_threaded and self.key == (*key[:-1], "") and _thread(self.asked) == key[-1]
            return self.key == key or is_below
        sender, to = message.frm, self.asked.to
        if message.is_group:
            is_there = to == (sender.room if isinstance(sender, RoomOccupant) else message.to)
        else:
            is_there = isinstance(to, Person) and sender is not None and _is_of(to, sender)
        threads = {self.asked.thread if self.offer.threads else "", *(ref.id for ref in self.refs)}
        return is_there and message.thread in threads


class Conversations:
    """The open questions of all plugins and flows. It is used on the reactor only. `denial` returns why a command is denied to
    the sender of a message, or None; see `Permissions.denial`. `note` stores what a person has chosen."""

    log = Logger()

    def __init__(
        self, reactor: Any, networks: Networks, replies: Replies, denial: Denial, note: Callable[[str, str], None]
    ) -> None:
        self._reactor, self._networks, self._replies = reactor, networks, replies
        self._denial, self._note = denial, note
        self.open: list[Asking] = []
        self._stopped = False

    def ask(self, plugin: object, message: Message, text: str, timeout: float | None) -> Deferred[Reply]:
        """Send a question to the sender of the message; return a Deferred of the reply, the sender's next message there. It is sent
        to where the message came from, unless the settings divert the replies of the running command to private or to a thread.
        A second question to the same person in the same room and thread is sent after the first reply.

        The Deferred fails with NoAnswer if there is no reply within `timeout` seconds after sending (None: no limit), with
        QuestionWithdrawn, also if the person already has MOST_QUESTIONS open questions, or with the error of sending.
        Cancelling it withdraws the question."""
        if (refusal := self._refusal(plugin, timeout)) is not None:
            return fail(refusal)
        backend = self._networks.of(message)
        asked = self._replies.addressed(backend, message, text, running_command.get())
        key = _key_of_question(asked, backend, message)
        asking = Asking(plugin, backend, asked, self._cancel, key, timeout=timeout)
        here = [one for one in self.open if one.key[:3] == asking.key[:3]]
        return self._add(asking, here, MOST_QUESTIONS, "You already have {} open questions; reply to one first.")

    def choose(
        self, plugin: object, to: Message | Identifier, question: str, choices: Sequence[str], who: Any, timeout: Any
    ) -> Deferred[Choice]:
        """Ask in reply to a message, or in a room or conversation; see `BotPlugin.choose`. Without buttons, a question is sent
        after those before it in the same place. Fails as `ask`, and with ValueError for invalid arguments."""
        if (refusal := self._refusal(plugin, timeout)) is not None:
            return fail(refusal)
        try:
            labels = labels_of(choices)
            if not isinstance(to, Message | Identifier):
                raise ValueError(f"choose(): expected a message, a room or a person, not {to!r:.80}")
            if not isinstance(question, str) or not question.strip():
                raise ValueError(f"choose(): the question must be a text, not {question!r:.80}")
            backend = self._networks.of(to)
            if isinstance(to, Message):
                asked = self._replies.addressed(backend, to, question, running_command.get())
            else:
                asked = Message(question, backend.bot_identifier, to)
            permits = self._permits(backend, to, who)
        except (TypeError, ValueError) as error:
            return fail(error)
        asked.choices = labels
        return self.offer(plugin, backend, asked, permits, timeout=timeout)

    def offer(self, plugin: object, backend: Backend, asked: Message, permits: Permits, **details: Any) -> Asking:
        """Send a question with choices of a plugin, or of a flow, unless an earlier process has `sent` it."""
        from errklein.chat.features import offer

        assert asked.to is not None
        # A later process would send what nobody waits for.
        asked.unstored = True
        shown = offer(asked.choices, backend.features(asked.to))
        asking = Asking(plugin, backend, asked, self._cancel, permits=permits, offer=shown, **details)
        here = [one for one in self.open if one.offer and one.backend is backend and one.asked.to == asked.to]
        most = MOST_WITH_BUTTONS if shown.buttons else MOST_QUESTIONS
        return self._add(asking, here, most, "There are already {} open questions; answer one of them first.")

    def press(self, backend: Backend, press: Press) -> str:
        """Return why the press of a button counts for nothing; "" if it counts."""
        there = [one for one in self.open if one.backend is backend and one.offer and one.offer.buttons]
        asking = next((one for one in there if one.is_at(press.ref)), None)
        if asking is None or not 0 <= press.number < len(asking.asked.choices):
            # The press of an earlier question's button must not answer another question.
            room = backend.build_identifier(press.ref.room)
            is_sending = any(not one.refs and one.asked.to == room for one in there)
            return "The question is still being sent; try again." if is_sending else NOT_OPEN
        if not asking.permits(press.by):
            return NOT_PERMITTED
        self._choose(asking, press.number, press.by)
        return ""

    def take(self, backend: Backend, message: Message) -> bool:
        """Return whether the message answers an open question that has no buttons; if so, end the question with it."""
        from errklein.chat.features import chosen

        there = [one for one in self.open if one.backend is backend and one.begun and one.is_answered_in(message)]
        for asking in sorted(there, key=lambda one: one.offer is None):
            sender, number = message.frm, chosen(message.body, asking.asked.choices)
            if asking.offer is None:
                reply = Reply(message.body.strip())
                reply.message = message
                self._end(asking, reply)
                return True
            if number is None or sender is None or asking.offer.buttons:
                continue
            if asking.permits(sender):
                self._choose(asking, number, sender, message)
                return True
            if str(sender) not in asking.refused:
                asking.refused.add(str(sender))
                settings = self._networks.config(backend)
                self._replies.deliver(backend, build_reply(backend, message, NOT_PERMITTED, True, False, settings))
        return False

    def changed(self, target: str | MessageRef) -> None:
        """End the question with choices whose message a plugin edits or deletes: people would choose for another text."""
        for asking in [one for one in self.open if one.offer and one.is_at(target)]:
            self._end(asking, Failure(QuestionWithdrawn("The question was changed.")))

    def withdraw(self, plugin: object) -> None:
        self._withdraw(lambda asking: asking.plugin is plugin, "The plugin is deactivated.")

    def stop(self) -> None:
        """End all open questions, apart from those of flows, which a later process has again, and reject later ones."""
        self._stopped = True
        self.open = [one for one in self.open if not isinstance(one.plugin, Flow)]
        self._withdraw(lambda _: True, "The bot is stopping.")

    def _withdraw(self, ends: Callable[[Asking], bool], reason: str) -> None:
        # In reverse order: ending the first one would send the next.
        for asking in [one for one in reversed(self.open) if ends(one)]:
            self._end(asking, Failure(QuestionWithdrawn(reason)), "*Withdrawn.*")

    def _cancel(self, asking: Asking) -> None:
        self._end(asking, Failure(QuestionWithdrawn("The question was withdrawn.")), "*Withdrawn.*")

    def _refusal(self, plugin: object, timeout: object) -> Exception | None:
        if self._stopped:
            return QuestionWithdrawn("The bot is stopping.")
        if not getattr(plugin, "is_activated", True):
            return QuestionWithdrawn("The plugin is deactivated.")
        if timeout is not None and not (isinstance(timeout, (int, float)) and timeout == timeout):
            return ValueError(f"timeout must be a number of seconds or None, not {timeout!r}")
        return None

    def _permits(self, backend: Backend, to: Message | Identifier, who: Any) -> Permits:
        if who is None and isinstance(to, Room):
            command, places = running_command.get(), (to, backend.bot_identifier)

            def may_run(by: Identifier) -> bool:
                messages = [Message(frm=by, to=place) for place in places]
                return command is None or any(self._denial(backend, one, command) is None for one in messages)

            return may_run
        given = (to.frm if isinstance(to, Message) else to) if who is None else who
        people = [given] if isinstance(given, str | Identifier) else list(given or ())
        if not people or not all(isinstance(one, str | Person | RoomOccupant) and one != "" for one in people):
            wanted = "a person, a text as in `allowusers`, or several"
            raise ValueError(f"choose(): `who` must be {wanted}, not {who!r:.80}")
        patterns = [one.removeprefix(f"{backend.network}:") for one in people if isinstance(one, str)]
        named = [one for one in people if not isinstance(one, str)]
        return lambda by: is_named(by, patterns) or any(_is_of(one, by) for one in named)

    def _add(self, asking: Asking, here: Sequence[Asking], most: int, refusal: str) -> Asking:
        if len(here) >= most:
            asking.errback(QuestionWithdrawn(refusal.format(most)))
            return asking
        self.open.append(asking)
        asking.begun = asking.sent is not None
        if not asking.begun and not any(map(asking.is_beside, here)):
            self._send(asking)
        return asking

    def _send(self, asking: Asking) -> None:
        asking.begun = True
        try:
            # The reply may arrive before `deliver` returns.
            if asking.timeout is not None:
                late = Failure(NoAnswer(f"There was no reply within {asking.timeout:g} s."))
                text = "*There was no answer in time.*"
                asking.clock = self._reactor.callLater(max(0, asking.timeout), self._end, asking, late, text)
            sent = self._replies.deliver(asking.backend, asking.asked)
            # Methods with which plugins replace those of the bot may return something else.
            if isinstance(sent, Receipt):
                asking.sent = sent
                sent.watch().addErrback(lambda failure: self._end(asking, failure))
        except Exception:
            self._end(asking, Failure())

    def _choose(self, asking: Asking, number: int, by: Identifier, message: Message | None = None) -> None:
        asked, choice = asking.asked, Choice(asking.asked.choices[number])
        choice.by, choice.number, choice.message = by, number, message
        choice.ref = asking.refs[-1] if asking.refs else None
        shown = sha256("\n".join([asked.body, *asked.choices]).encode("utf-8", "replace")).hexdigest()
        question, where = " ".join(truncated(asked.body, 200).split()), "" if asked.is_direct else f" in {asked.to}"
        person = str(getattr(by, "person", by))
        self._note(person, masker(f'"{choice}" to "{question}"{where} on {asking.backend.network}, sha256 {shown}'))
        self._end(asking, choice, f"**{plain(choice)}** ({plain(str(getattr(by, 'nick', None) or person))})")

    def _end(self, asking: Asking, result: Reply | Choice | Failure, shown: str = "") -> None:
        """End a question, whose message gets the text `shown` in place of the buttons, and send the next one in its place."""
        if asking not in self.open:
            return
        self.open.remove(asking)
        if asking.clock is not None and asking.clock.active():
            asking.clock.cancel()
        asked, sent, refs = asking.asked, asking.sent, asking.refs
        if shown and sent is not None and asking.offer and asking.offer.edits:
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
            asking.callback(result)
        waiting = next((one for one in self.open if not one.begun and one.is_beside(asking)), None)
        if asking.begun and waiting is not None:
            self._send(waiting)


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


def _is_of(person: Identifier, by: Identifier) -> bool:
    names = {rules_of(by).fold(str(getattr(one, "person", one))) for one in (person, by)}
    return len(names) == 1 and same_network(person, by) and same_person(person, by)
