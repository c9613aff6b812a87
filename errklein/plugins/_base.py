"""The parts of BotPlugin: the bot as plugins use it, attributes that a plugin may define otherwise, pollers, and messages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Generic, Protocol, TypeVar

from twisted.internet.defer import maybeDeferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from errklein.chat import ONLINE, Card, Identifier, Message, Room, Stream
from errklein.chat.handles import Target, thread_of
from errklein.chat.operations import Kind
from errklein.http_client import HTTPClients
from errklein.plugins.plug_file import plugin_name
from errklein.ports.receipts import Receipt
from errklein.ports.values import Storage
from errklein.running import Runner, ThreadWaits, WorkerPool, on_reactor_soon
from errklein.running.context import assigned, check_in_owner, origin

if TYPE_CHECKING:
    from errklein.plugins.manager import PluginManager

T = TypeVar("T")
OVERDUE = 60.0  # seconds after which a call of a poller that has not returned is logged
Signature = tuple[Callable[..., Any], Any, Any]  # a method with its positional and keyword arguments


class MessageChanges(Protocol):
    """What the bot does with messages; PluginMessages has the parameters."""

    change: Callable[..., Receipt]
    send_file: Callable[..., Receipt]
    change_reaction: Callable[..., None]


class PluginHost(Protocol):
    """The part of the bot that BotPlugin and BotFlow use, with the types of results. Plugins may use all other attributes, too."""

    runner: Runner
    plugin_pool: WorkerPool
    storage: Storage
    http_clients: HTTPClients
    waits: ThreadWaits

    @property
    def plugin_manager(self) -> PluginManager: ...
    @property
    def sending(self) -> MessageChanges: ...
    @property
    def mode(self) -> str: ...
    @property
    def bot_identifier(self) -> Identifier | None: ...

    # PluginMessages has the parameters.
    send: Callable[..., Receipt]
    send_templated: Callable[..., Receipt]
    send_card: Callable[..., Receipt]
    send_stream_request: Callable[..., Stream | None]
    build_identifier: Callable[..., Identifier]
    rooms: Callable[[], list[Room]]
    query_room: Callable[[str], Room]

    def __getattr__(self, name: str) -> Any: ...


class DefaultMethod:
    """A decorator for a method of BotPlugin whose name plugins written for errbot may use otherwise. A plugin's own attribute takes
    precedence, in the instance, in a subclass, or in another base class, also one after BotPlugin. There is no `__set__`."""

    def __init__(self, attribute: Any) -> None:
        self.__doc__ = attribute.__doc__
        self._attribute = attribute

    def __set_name__(self, owner: type, name: str) -> None:
        self._owner, self._name = owner, name

    def __get__(self, plugin: object | None, cls: type) -> Any:
        after: Any = super(self._owner, cls if plugin is None else plugin)
        try:
            return getattr(after, self._name)
        except AttributeError:
            return self._attribute.__get__(plugin, cls)


class DefaultProperty(DefaultMethod, Generic[T]):
    """The same for a property whose value is created once."""

    def __init__(self, create: Callable[[Any], T], library: str = "") -> None:
        super().__init__(cached_property(create))
        self._errklein_library = library

    def __set_name__(self, owner: type, name: str) -> None:
        super().__set_name__(owner, name)
        self._attribute.__set_name__(owner, name)

    def __get__(self, plugin: object | None, cls: type) -> T:
        value: T = super().__get__(plugin, cls)
        return value


class _Poller:
    def __init__(self, pollers: Pollers, interval: float, times: int | None, signature: Signature) -> None:
        # Not checked here: as on errbot, invalid arguments are an error at each tick.
        self.signature = signature
        method = signature[0]
        self._names: dict[str, Any] = {"plugin": pollers.owner, "method": getattr(method, "__name__", repr(method))}
        self._pollers = pollers
        self._interval = interval
        self._left = times
        self._stopped = False
        self._loop = LoopingCall(lambda: maybeDeferred(self._call).addErrback(self._report))
        self._loop.clock = pollers.reactor
        self._warning: IDelayedCall | None = None
        self._warned = False

    def begin(self) -> None:
        if self._stopped:
            return
        try:
            self._loop.start(self._interval, now=False)
        except (TypeError, ValueError):
            text = "{plugin}: the poller {method} doesn't start, since its interval must be a number of seconds, not {interval!r}"
            self._pollers.log.failure(text, interval=self._interval, **self._names)

    def end(self) -> None:
        self._stopped = True
        if self._loop.running:
            self._loop.stop()
        self._forget_warning()

    def _call(self) -> Any:
        method, args, kwargs = self.signature
        if self._left is not None:
            self._left -= 1
            if self._left <= 0:
                self._pollers.end(self)
        with assigned(origin, f"plugin:{self._pollers.owner}"):
            running = self._pollers.runner.run(method, *args, **kwargs)
        if not (running.called or self._warned or self._stopped):
            self._warning = self._pollers.reactor.callLater(OVERDUE, self._warn)
            running.addBoth(self._forget_warning)
        return running

    def _forget_warning(self, result: Any = None) -> Any:
        if self._warning is not None:
            self._warning.cancel()
            self._warning = None
        return result

    def _warn(self) -> None:
        self._warning = None
        self._warned = True
        text = "{plugin}: the poller {method} has not returned for {seconds:.0f} s; it isn't called again until it does"
        self._pollers.log.warn(text, seconds=OVERDUE, **self._names)

    def _report(self, failure: Failure) -> None:
        self._pollers.log.failure("{plugin}: the poller {method} failed; it continues", failure, **self._names)


class Pollers:
    """The pollers of one plugin, for any thread. Calls don't overlap: one that takes longer than the interval skips others."""

    log = Logger()

    def __init__(self, reactor: Any, runner: Runner, owner: str) -> None:
        self.reactor = reactor
        self.runner = runner
        self.owner = owner
        self._pollers: list[_Poller] = []

    def start(self, interval: float, times: int | None, signature: Signature) -> None:
        """Make the call every `interval` seconds; replaces the poller of the same call. Raises TypeError if it isn't callable."""
        if not callable(signature[0]):
            raise TypeError(f"{self.owner}: start_poller() requires a callable, not {signature[0]!r}")
        poller = _Poller(self, interval, times, signature)
        for running in self._with(signature):
            self.end(running)
        if isinstance(times, (int, float)) and times <= 0:
            return
        self._pollers.append(poller)
        on_reactor_soon(self.reactor, poller.begin)

    def stop(self, signature: Signature | None = None) -> None:
        """Stop the poller of this call, or all. Raises ValueError if there is no such poller."""
        found = list(self._pollers) if signature is None else self._with(signature)
        if not found and signature is not None:
            raise ValueError(f"{self.owner}: no poller calls {signature[0]!r} with these arguments")
        for poller in found:
            self.end(poller)

    @property
    def running(self) -> list[tuple[Callable[..., Any], Iterable[Any], Mapping[str, Any]]]:
        return [poller.signature for poller in self._pollers]

    def _with(self, signature: Signature) -> list[_Poller]:
        return [poller for poller in self._pollers if _comparable(poller.signature) == _comparable(signature)]

    def end(self, poller: _Poller) -> None:
        if poller in self._pollers:
            self._pollers.remove(poller)
        on_reactor_soon(self.reactor, poller.end)


def _comparable(signature: Signature) -> Signature:
    method, args, kwargs = signature
    return method, tuple(args) if isinstance(args, list) else args, kwargs


class PluginMessages:
    """The base class of `BotPlugin`, with its name and what it says in the chat."""

    _bot: PluginHost
    _name: str

    @property
    def name(self) -> str:
        """The plugin's name, as in its `.plug` file."""
        return self._name

    def send(
        self,
        identifier: Identifier,
        text: str,
        in_reply_to: Message | None = None,
        groupchat_nick_reply: bool = False,
        *,
        priority: bool = False,
        mentions: bool = False,
        thread: Target = "",
    ) -> Receipt:
        """Send Markdown text to a person or a room. The call doesn't wait for the network. For example::

            room = self.build_identifier("#builds")
            self.send(room, "Build **42** has failed.")

        The network's outbox keeps the message until the network has it, across disconnections and restarts, and splits text
        that is too long for one message.

        :param identifier: The recipient: `msg.frm`, `msg.to`, or a result of `build_identifier`.
        :param text: The text, in Markdown. Put text from outside in backticks to show it unchanged.
        :param in_reply_to: A message; on networks with threads the text is sent in its thread.
        :param groupchat_nick_reply: True to start the text with the name of the sender of `in_reply_to`, in rooms.
        :param priority: True to send it before the messages without priority that wait on this network.
        :param mentions: True to let `@channel`, `@here`, `@everyone` and the like in the text notify people. By default, they
            are shown without effect.
        :param thread: The thread to send to: `message.thread`, or a message that is in the thread or begins it.
        :returns: The handle of the message, a text that may be stored, see `Receipt`. `await sent` waits until the network has
            the message; in a thread, `sent.wait()` does. It fails with OutboxExpired after OUTBOX_MAX_AGE, with SentLater if the
            next start sends the message, with RoomUnavailable if it waits until the bot has joined the room, or with the
            network's error. A handler may return or yield it, which is no reply.
        :raises ValueError: If `identifier` isn't an identifier, for instance a string.
        :raises OutboxFull: If messages are sent faster than the network accepts them; in a thread, after 5 s."""
        options = _options(priority=priority, mentions=mentions, thread=thread)
        return self._bot.send(identifier, text, in_reply_to, groupchat_nick_reply, **options)

    def send_templated(
        self,
        identifier: Identifier,
        template_name: str,
        template_parameters: Mapping[str, Any],
        in_reply_to: Message | None = None,
        groupchat_nick_reply: bool = False,
        *,
        priority: bool = False,
        mentions: bool = False,
        thread: Target = "",
    ) -> Receipt:
        """Send the text that a Jinja2 template produces. For example::

            self.send_templated(msg.frm, "build", {"project": "api", "status": "passed"})

        The other parameters, the result and the other exceptions are those of `send`.

        :param template_name: The name of a file in the directory `templates` beside the `.plug` file, without `.md`. If
            the plugin doesn't have it, errklein's template of that name is used.
        :raises jinja2.TemplateError: If the template doesn't exist or can't be rendered."""
        options = _options(priority=priority, mentions=mentions, thread=thread)
        given = (identifier, template_name, template_parameters, in_reply_to, groupchat_nick_reply, plugin_name(self))
        return self._bot.send_templated(*given, **options)

    def send_card(
        self,
        body: str = "",
        to: Identifier | None = None,
        in_reply_to: Message | None = None,
        summary: str | None = None,
        title: str = "",
        link: str | None = None,
        image: str | None = None,
        thumbnail: str | None = None,
        color: str = "green",
        fields: Sequence[tuple[str, str]] | None = (),
        *,
        priority: bool = False,
        mentions: bool = False,
        thread: Target = "",
    ) -> Receipt:
        """Send a card: a message with a title, pictures and fields. Networks without cards show it as text. For example::

            self.send_card(
                to=msg.frm,
                title="Build 42",
                link="https://ci.example.org/42",
                body="All tests have passed.",
                color="green",
                fields=(("Branch", "main"), ("Duration", "3 min")),
            )

        :param body: The text below the title, in Markdown.
        :param to: The recipient; by default the sender of `in_reply_to`.
        :param in_reply_to: The message that the card replies to.
        :param summary: A short text for notifications.
        :param link: The URL that the title links to.
        :param image: The URL of a picture; `thumbnail` is that of a small one.
        :param color: A name such as "red", or "#rrggbb".
        :param fields: Pairs of a name and a value, shown as a table.
        :param priority: As for `send`, like `mentions` and `thread`.
        :returns: As `send` does.
        :raises ValueError: If `to` and `in_reply_to` are both missing, or if `to` isn't an identifier."""
        frm = self._bot.bot_identifier
        if in_reply_to is not None:
            frm = in_reply_to.to
            to = to or in_reply_to.frm
        if to is None:
            raise ValueError("send_card() requires `to` or `in_reply_to`")
        if not isinstance(to, Identifier):
            raise ValueError(f"send_card(): `to` must be an identifier, as build_identifier() returns, not {to!r}")
        card = Card(body, frm, to, in_reply_to, summary, title, link, image, thumbnail, color, fields)
        card.priority, card.mentions, card.thread = priority, mentions, thread_of(thread)
        return self._bot.send_card(card)

    @DefaultMethod
    def edit(self, sent: Target, text: str, *, mentions: bool = False) -> Receipt:
        """Replace the text of a message of the bot. One that hasn't been sent yet is sent with the new text. For example::

            sent = self.send(room, "The build runs.")
            self.edit(sent, "The build has passed.")

        :param sent: What `send` has returned, or its text, which may come from the store.
        :raises ValueError: If `sent` names no message."""
        return self._bot.sending.change(sent, Kind.EDIT, text, mentions=mentions)

    @DefaultMethod
    def delete(self, sent: Target) -> Receipt:
        """Delete a message of the bot. One that hasn't been sent yet won't be. The parameter, result and errors are those of
        `edit`; `await` raises Unsupported where that is impossible."""
        return self._bot.sending.change(sent, Kind.DELETE)

    @DefaultMethod
    def react(self, message: Target, emoji: str, *, remove: bool = False) -> Receipt:
        """React to a message with an emoji, or take the bot's reaction back. For example::

            self.react(message, "👀")

        :param message: A received message, its `ref`, or what `send` has returned; ValueError if it is none.
        :returns: As `send` does, for the reaction."""
        return self._bot.sending.change(message, Kind.UNREACT if remove else Kind.REACT, emoji=emoji)

    @DefaultMethod
    def send_file(
        self,
        identifier: Identifier,
        file: bytes | Path | BinaryIO,
        name: str = "",
        type: str = "",
        *,
        thread: Target = "",
        priority: bool = False,
    ) -> Receipt:
        """Send a file of up to 25 MB to a person or a room. For example::

            self.send_file(room, Path("report.pdf"))

        :param file: The content, a path, or a binary file. It is read before the call returns; in a coroutine, read one of a slow
            disk in a thread before.
        :param name: The name of the file for the recipient; by default that of `file`.
        :param type: The content type, such as "image/png"; by default that of the name.
        :param thread: As for `send`, like `priority`.
        :returns: As `send` does; `await` raises Unsupported if the network can't carry the file.
        :raises ValueError: If `identifier` isn't an identifier, or the file is too large or can't be read as bytes."""
        return self._bot.sending.send_file(identifier, file, name, type, thread=thread, priority=priority)

    @DefaultMethod
    def choose(
        self,
        to: Message | Identifier,
        question: str,
        choices: Sequence[str],
        *,
        who: Identifier | str | Sequence[Identifier | str] | None = None,
        timeout: float | None = 60.0,
    ) -> Any:
        """Ask a question with choices, and wait for the answer: a button that is pressed, or a number on networks without buttons.

        For example, `answer = await self.choose(message, "Deploy?", ["yes", "no"], who="@alice")`. A plain method, which runs in a
        thread, calls it without `await`. :doc:`/guides/commands` has more.

        :param to: The message that the question replies to, or a room or person.
        :param question: The question, in Markdown.
        :param who: Who may choose: a person, a text as in `allowusers` such as "@alice", or several. By default it is
            the sender of the message, or the person that is asked; in a room, everybody there, in a command everybody
            there who may run it.
        :param timeout: The time to wait for the answer, in seconds; None to wait without a limit.
        :returns: The label that was chosen, a `str` with the attributes `by`, `number` (the position from 0), `ref` and `message`.
        :raises TimeoutError: If there is no answer in time. A command that doesn't catch it replies with a sentence about it.
        :raises CommandError: If the plugin is deactivated, edits or deletes the question, the bot stops, or too many are open.
        :raises ValueError: If an argument is invalid."""
        check_in_owner("ask for a choice")
        return self._bot.waits.result_of(self._bot.conversations.choose, self, to, question, choices, who, timeout)

    def send_stream_request(
        self,
        user: Identifier,
        fsource: BinaryIO,
        name: str | None = None,
        size: int | None = None,
        stream_type: str | None = None,
    ) -> Stream | None:
        """Offer a binary file to a person, which the network reads in the background. Returns the stream, whose `status` shows
        the progress. Raises NotImplementedError if the network can't transfer files. New plugins use `send_file`."""
        return self._bot.send_stream_request(user, fsource, name, size, stream_type)

    def add_reaction(self, msg: Message, reaction: str) -> None:
        """Add a reaction to a message. It has a name such as "thumbsup". Raises NotImplementedError if the network has no
        reactions. New plugins use `react`."""
        self._bot.sending.change_reaction(msg, Kind.REACT, reaction)

    def remove_reaction(self, msg: Message, reaction: str) -> None:
        """Remove a reaction that the bot has added to a message; otherwise as `add_reaction`."""
        self._bot.sending.change_reaction(msg, Kind.UNREACT, reaction)

    def build_identifier(self, txt: str | tuple[str, str]) -> Identifier:
        """Return the identifier of a person, an occupant of a room, or a room. For example::

            self.build_identifier("#builds")  # on the current network
            self.build_identifier("libera:#builds")  # on the network "libera" of NETWORKS

        :param txt: The name as the network writes it, with or without the network's name and a colon before it. A tuple
            of a room's name and its password stands for the room.
        :returns: The identifier, on the current network (see `mode`) if the text doesn't name one.
        :raises ValueError: If the network can't read the name."""
        return self._bot.build_identifier(txt)

    @DefaultMethod
    def resolve(self, txt: str) -> Any:
        """Return the identifier of a person, an occupant of a room, or a room, after the network was asked if necessary.

        For example::

            room = await self.resolve("#builds")

        :param txt: The name, as for `build_identifier`.
        :returns: The identifier; on the reactor, an awaitable of it.
        :raises ValueError: If the network can't read the name.
        :raises RoomDoesNotExistError: If there is no such room, or UserDoesNotExistError if there is no such person.
        :raises LookupFailed: If the network can't be asked now, or hasn't replied within 30 s."""
        check_in_owner("ask a network", "use build_identifier, or remove the option")
        return self._bot.waits.result_of(self._bot.networks.resolve, txt, self._bot.reactor)

    def warn_admins(self, warning: str) -> None:
        """Send a warning, in Markdown, to everyone in BOT_ADMINS_NOTIFICATIONS, on every network, and log it."""
        self._bot.warn_admins(warning)

    def change_presence(self, status: str = ONLINE, message: str = "") -> None:
        """Set the bot's presence on all networks. For example::

            self.change_presence(AWAY, "Maintenance until 10:00")

        `errklein` exports ONLINE, AWAY, DND and OFFLINE."""
        check_in_owner("set the presence")
        self._bot.change_presence(status, message)

    def rooms(self) -> list[Room]:
        """Return the rooms that the bot is in, on all networks."""
        check_in_owner("ask for rooms, or change them")
        return self._bot.rooms()

    def query_room(self, room: str) -> Room:
        """Return a room, whether or not the bot is in it. For example::

            room = self.query_room("#builds")
            if not room.joined:
                room.join()

        :param room: The room's name, with or without a network, as for `build_identifier`.
        :raises RoomDoesNotExistError: If the network knows that there is no such room."""
        check_in_owner("ask for rooms, or change them", "use build_identifier, or remove the option")
        return self._bot.query_room(room)

    @DefaultMethod
    def join_room(self, room: Room | str, password: str | None = None) -> Any:
        """Join a room, which may be its name with or without a network, and wait until the network has let the bot in. On the
        reactor, it returns an awaitable; in a thread, the call waits.

        :raises RoomError: If the network refuses, with its reason, or hasn't replied within 10 s.
        :raises NotImplementedError: If the network doesn't support that."""
        return _room_result(self, "join", room, password or "")

    @DefaultMethod
    def leave_room(self, room: Room | str, reason: str | None = None) -> Any:
        """Leave a room, with a reason that others see; otherwise as `join_room`."""
        return _room_result(self, "leave", room, reason or "")

    @DefaultMethod
    def invite_to_room(self, room: Room | str, person: Identifier | str) -> Any:
        """Invite a person to a room; otherwise as `join_room`."""
        return _room_result(self, "invite", room, str(getattr(person, "person", person)))

    @DefaultMethod
    def topic_of(self, room: Room | str) -> Any:
        """Return the topic of a room, "" if it has none; otherwise as `join_room`."""
        return _room_result(self, "topic", room)

    @DefaultMethod
    def set_topic(self, room: Room | str, topic: str) -> Any:
        """Set the topic of a room, and wait until the network has changed it; otherwise as `join_room`."""
        return _room_result(self, "set_topic", room, topic)

    @DefaultMethod
    def members_of(self, room: Room | str) -> Any:
        """Return the people in a room, as RoomOccupant; otherwise as `join_room`."""
        return _room_result(self, "members", room)


def _room_result(plugin: PluginMessages, act: str, room: Room | str, *args: str) -> Any:
    check_in_owner("ask for rooms, or change them")
    return plugin._bot.waits.result_of(plugin._bot.core_host.rooms.do, act, room, *args)


def _options(**options: Any) -> dict[str, Any]:
    """Return the options that are set. Tests of plugins replace the bot's `send` by functions that don't know them."""
    return {name: value for name, value in options.items() if value}
