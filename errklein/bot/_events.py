"""The events that backends report, and the callbacks of plugins that they call. Incoming files are copied for each plugin
that reads them: the stream is written to a temporary file, which each copy reads on its own, and waits at the end for
more, so that a slow reader doesn't delay the others."""

from __future__ import annotations

import io
import tempfile
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import copy_context
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from errklein.bot._notices import INTERVAL
from errklein.bot._operations import overview
from errklein.chat import (
    ONLINE,
    STREAM_REJECTED,
    STREAM_TRANSFER_IN_PROGRESS,
    STREAM_WAITING_TO_START,
    Identifier,
    Message,
    Presence,
    Reaction,
    Room,
    Stream,
)
from errklein.chat.handles import MessageRef
from errklein.chat.operations import Press
from errklein.dispatch import Dispatcher
from errklein.plugins.manager import Callback
from errklein.ports.chat import Backend, BotOverview
from errklein.running import (
    KeyedQueueFull,
    KeyedQueues,
    Placement,
    RateLimit,
    Runner,
    TimeSlices,
    WorkerPool,
    on_reactor_soon,
)
from errklein.running.context import assigned, described_origin, handled_network, origin, person_origin

if TYPE_CHECKING:
    from errklein.bot._bot import Bot

_DAY = 86400.0


FindCallbacks = Callable[[str], list[Callback]]
"""Returns the methods of active plugins that override the callback of that name."""


class Callbacks:
    """Calls plugins' callbacks on the reactor or in a thread. Blocking callbacks run one at a time, as errbot's plugins
    expect. Each plugin gets events in the order in which they happen, and the plugins get one event in the order of
    PLUGINS_CALLBACK_ORDER. `callback_botmessage` has a queue of its own, since another one may send messages."""

    log = Logger()

    def __init__(self, reactor: Any, runner: Runner, queues: KeyedQueues, find: FindCallbacks) -> None:
        self.find = find
        self._reactor = reactor
        self._runner = runner
        self._queues = queues
        self._warnings = RateLimit(reactor.seconds)

    def call(self, backend: Backend, callback: str, *args: Any) -> None:
        """Call a callback of all plugins that override it, for an event on the backend's network."""
        found = self.find(callback)
        if not found:
            return
        before = None
        # `assigned` would cost a hundredth of a short command.
        network, by = handled_network.set(backend.network), origin.set("")
        try:
            for one in found:
                origin.set(f"plugin:{one.plugin}")
                if one.placement is Placement.REACTOR:
                    # Without a Deferred, which costs as much as a short callback.
                    try:
                        running = self._runner.start_in(copy_context(), one.method, args, {})
                    except BaseException:
                        self._failed(Failure(), one.plugin, callback)
                        continue
                    if not isinstance(running, Deferred):
                        continue
                else:
                    queue = (id(getattr(one.method, "__self__", one.method)), callback == "callback_botmessage")
                    before = self._queues.run(queue, partial(self._call_queued, callback, one, args), before)
                    running = before.result
                running.addErrback(self._failed, one.plugin, callback)
        finally:
            origin.reset(by)
            handled_network.reset(network)

    def show_sent(self, backend: Backend, message: Message) -> None:
        """Call `callback_botmessage` for a message that the bot has sent. May be called from any thread."""
        if self.find("callback_botmessage"):
            call = copy_context().run
            on_reactor_soon(self._reactor, call, self.call, backend, "callback_botmessage", message)

    def _call_queued(self, callback: str, one: Callback, args: Any) -> Deferred[Any]:
        # The plugin may have been deactivated meanwhile.
        if one not in self.find(callback):
            return succeed(None)
        return self._runner.call_in(lambda: partial(one.method, *args))

    def _failed(self, failure: Failure, plugin: str, callback: str) -> None:
        if not failure.check(KeyedQueueFull):
            self.log.failure("{plugin}: {callback} failed", failure, plugin=plugin, callback=callback)
            return
        if self._warnings.allows(plugin):
            self.log.error(
                "{plugin} is too slow: {callback} is skipped for new events ({reason}). "
                "One of the plugin's callbacks may never return",
                plugin=plugin,
                callback=callback,
                reason=failure.getErrorMessage(),
            )


CHUNK_SIZE = 4096  # the maximal number of bytes per read from the incoming stream

SIZE_LIMIT = 1 << 30
"""The maximal size of a stream in bytes, since it is stored in a temporary file. A larger stream ends with an error."""


class StreamCopier:
    """Copies a stream for several readers. The incoming stream is accepted when a reader accepts its copy or begins to
    read it, and rejected if each reader rejects its copy or returns without doing either. A reader may go on reading an
    accepted copy after it returned. The temporary file has no name, so the system deletes it when the copying has ended
    and all copies are closed. The constructor, which creates the file, and `run` block, so they are called in a thread.
    `returned` and `stop` may be called in any thread."""

    log = Logger()

    def __init__(self, incoming: Stream, readers: Iterable[str], size_limit: int = SIZE_LIMIT) -> None:
        self._incoming = incoming
        self._size_limit = size_limit
        self._changed = threading.Condition()
        self.size, self.ended = 0, False  # of the part that is in the file, and whether there comes no more
        descriptor, path = tempfile.mkstemp(prefix="errklein-stream-")
        self._file = io.FileIO(descriptor, "wb")
        try:
            self.copies = {_Copy(incoming, path, self): reader for reader in readers}
        finally:
            Path(path).unlink()

    def notify(self) -> None:
        """Let threads that wait look again."""
        with self._changed:
            self._changed.notify_all()

    def wait_for(self, condition: Callable[[], bool]) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self.ended or condition())

    def run(self) -> None:
        """Copy the stream. Return when it is complete, when no reader is left, or after `stop`."""
        with self._file:
            try:
                self.wait_for(lambda: self._is_wanted() or not self._has_readers())
                if self._is_wanted():
                    self._copy()
                elif self._incoming.status == STREAM_WAITING_TO_START:
                    self._incoming.reject()
            except Exception as error:
                self._fail(str(error) or type(error).__name__)
            finally:
                self._end()

    def returned(self, copy: Stream) -> None:
        """Note that the reader of the copy has returned."""
        if copy.status == STREAM_WAITING_TO_START:
            self.log.warn(
                "{reader} returned without accepting or rejecting the stream {name}, which is a rejection",
                reader=next(reader for known, reader in self.copies.items() if known is copy),
                name=copy.name,
            )
            copy.reject()
        if copy.status != STREAM_TRANSFER_IN_PROGRESS:
            # Closing the copy itself would wait for a thread that reads it.
            copy.raw.close()

    def stop(self) -> None:
        self._fail("the bot is stopping")
        self._end()

    def _end(self) -> None:
        self.ended = True
        self.notify()

    def _is_wanted(self) -> bool:
        return any(copy.is_wanted for copy in self.copies)

    def _has_readers(self) -> bool:
        return any(not copy.closed and copy.status != STREAM_REJECTED for copy in self.copies)

    def _copy(self) -> None:
        incoming, size = self._incoming, 0
        if incoming.status == STREAM_WAITING_TO_START:
            incoming.accept()
        while not self.ended and (chunk := incoming.read1(CHUNK_SIZE)):
            size += len(chunk)
            too_large = f"it has more than {self._size_limit} bytes" if size > self._size_limit else ""
            if reason := too_large if self._has_readers() else "no plugin reads it":
                self._fail(reason)
                return
            while chunk:
                chunk = chunk[self._file.write(chunk) :]
            self.size = size
            self.notify()
            for stream in (incoming, *self.copies):
                stream.ack_data(size)
        if incoming.status == STREAM_TRANSFER_IN_PROGRESS:
            incoming.success()

    def _fail(self, reason: str) -> None:
        if self.ended:
            return
        self.log.warn("The stream {name} ended early: {reason}", name=self._incoming.name, reason=reason)
        for stream in (self._incoming, *self.copies):
            if stream.status in (STREAM_WAITING_TO_START, STREAM_TRANSFER_IN_PROGRESS):
                stream.error(reason)


class _GrowingFile(io.RawIOBase):
    """Reads the file while it grows: at its end, waits for more."""

    def __init__(self, path: str, copier: StreamCopier) -> None:
        self.was_read = False
        self._file, self._copier, self._position = io.FileIO(path), copier, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self.was_read:
            self.was_read = True
            self._copier.notify()
        self._copier.wait_for(lambda: self.closed or self._copier.size > self._position)
        count = 0 if self.closed else self._file.readinto(buffer) or 0
        self._position += count
        return count

    def close(self) -> None:
        super().close()
        self._file.close()
        self._copier.notify()


class _Copy(Stream):
    """A copy of a stream, which wakes the copier when it is accepted or rejected."""

    def __init__(self, original: Stream, path: str, copier: StreamCopier) -> None:
        self._file, self._copier = _GrowingFile(path, copier), copier
        super().__init__(original.identifier, self._file, original.name, original.size, original.stream_type)

    @property
    def is_wanted(self) -> bool:
        """True if the copy was accepted, or a reader has begun to read it."""
        return not self.closed and (self._file.was_read or self.status == STREAM_TRANSFER_IN_PROGRESS)

    def accept(self) -> None:
        super().accept()
        self._copier.notify()

    def reject(self) -> None:
        super().reject()
        self._copier.notify()


MOST_AT_ONCE = 16  # the maximal number of files that are received at the same time; further ones are rejected


class Streams:
    """Passes a copy of each incoming stream to each plugin that overrides `callback_stream`. Used on the reactor only."""

    log = Logger()

    def __init__(self, reactor: Any, runner: Runner, find_callbacks: FindCallbacks) -> None:
        self._reactor = reactor
        self._runner = runner
        self._find_callbacks = find_callbacks
        self._arriving = 0
        self._copiers: set[StreamCopier] = set()
        self._stopped = False

    def offer(self, stream: Stream) -> None:
        """Copy the stream for each active plugin with a `callback_stream`. Without one, reject the stream."""
        plugins = {one.plugin: one.method for one in self._find_callbacks("callback_stream")}
        if plugins and not self._stopped and self._arriving < MOST_AT_ONCE:
            Deferred.fromCoroutine(self._copy(stream, plugins))
            return
        if plugins:
            text = "The stream {name} is rejected: {most} streams are being received already"
            self.log.warn(text, name=stream.name, most=MOST_AT_ONCE)
        if stream.status == STREAM_WAITING_TO_START:
            stream.reject()

    def stop(self) -> None:
        """End the streams that are being copied with an error, and reject new ones."""
        self._stopped = True
        for copier in self._copiers:
            copier.stop()

    async def _copy(self, stream: Stream, plugins: Mapping[str, Callable[[Stream], Any]]) -> None:
        self._arriving += 1
        pool = self._new_pool(stream)
        copier: StreamCopier | None = None
        try:
            copier = await pool.run(lambda: partial(StreamCopier, stream, plugins))
            self._copiers.add(copier)
            if self._stopped:
                copier.stop()
            reading = [
                Deferred.fromCoroutine(self._read(plugin, callback, copier, copy))
                for (plugin, callback), copy in zip(plugins.items(), copier.copies, strict=True)
            ]
            await pool.run(lambda: copier.run)
            await DeferredList(reading)
        except Exception as error:
            self.log.failure("The stream {name} could not be copied", name=stream.name)
            stream.error(str(error))
        finally:
            self._arriving -= 1
            if copier is not None:
                self._copiers.discard(copier)
                # A plugin may keep its copy, which refers to the copier, and so to the others.
                copier.copies.clear()
            pool.stop()

    async def _read(self, plugin: str, callback: Callable[[Stream], Any], copier: StreamCopier, copy: Stream) -> None:
        pool = self._new_pool(copy)
        try:
            with assigned(origin, f"plugin:{plugin}"):
                running = self._runner.using(pool).run(callback, copy)
            await running
        except Exception:
            self.log.failure("{plugin}: callback_stream failed", plugin=plugin)
        finally:
            copier.returned(copy)
            pool.stop()

    def _new_pool(self, stream: Stream) -> WorkerPool:
        # Each plugin and the copying have a thread of their own, so that none waits for another.
        return WorkerPool(self._reactor, f"stream {stream.name}", 1)


@dataclass
class NetworkState:
    """The connection to a network, and the number of messages since the start. `connected_at` is the Unix time of the
    last connection; None while there is none. A network that has `ended` doesn't reconnect."""

    connected_at: float | None = None
    connections: int = 0
    received: int = 0
    ended: bool = False

    @property
    def reconnects(self) -> int:
        """The number of connections after the first one."""
        return max(0, self.connections - 1)


class Events:
    """Implements `ports.chat.BackendEvents`: runs commands and calls plugins' callbacks."""

    log = Logger()

    def __init__(self, bot: Bot, dispatcher: Dispatcher, streams: Streams, all_ended: Callable[[], object]) -> None:
        self._bot, self._dispatcher, self._streams, self._all_ended = bot, dispatcher, streams, all_ended
        self._networks, self._callbacks, self._notices, self._now = bot.networks, bot.callbacks, bot.notices, bot.now
        self._slices = TimeSlices(bot.reactor)
        self._stopped = False
        self.states = {network: NetworkState() for network in bot.backends}
        """The states of the connections, by network."""

    def overview(self, backend: Backend) -> BotOverview:
        return overview(self._bot, backend)

    @property
    def open_networks(self) -> list[str]:
        """The names of the networks that have not ended, sorted."""
        return sorted(network for network, state in self.states.items() if not state.ended)

    def stop(self) -> None:
        self._stopped = True
        self._slices.stop()

    def backend_connected(self, backend: Backend) -> None:
        state = self.states[backend.network]
        state.connected_at, state.connections = self._now(), state.connections + 1
        self.log.info("Connected to {network}", network=backend.network)
        self._callbacks.call(backend, "callback_connect")

    def backend_disconnected(self, backend: Backend, reason: str) -> None:
        self.states[backend.network].connected_at = None
        self.log.warn("Disconnected from {network}: {reason}", network=backend.network, reason=reason)

    def messages_dropped(self, backend: Backend, count: int, reason: str) -> None:
        """Notify administrators of the first message, and then of all that a network drops within ten minutes together."""
        network, details = backend.network, f"since {reason}. The log has the recipients and texts."
        dropped = "A message was" if count == 1 else f"{count} messages were"
        more = f"Not sent on {network}: {{count}} more, {details}"
        self._notices.post(("dropped", network), f"{dropped} not sent on {network}, {details}", more=more, count=count)

    def messages_undelivered(
        self, backend: Backend, recipient: str, origins: Mapping[str, int], reason: str, *, waiting: bool
    ) -> None:
        """Notify administrators of the first messages, and then of all to the room within ten minutes, or a day, together."""
        number, room = sum(origins.values()), f"{recipient} on {backend.network}"
        senders = ", ".join(f"{described_origin(each)}: {count}" for each, count in origins.items())
        messages = "A message" if number == 1 else f"{number} messages"
        if waiting:
            text = f"{messages} to {room}: not sent yet, since the bot can't write there ({reason}). By {senders}. "
            age = self._networks.config(backend).OUTBOX_MAX_AGE
            text += f"`why {recipient}` says more. What has waited for OUTBOX_MAX_AGE, {age:g} s, is dropped."
        else:
            text = f"{messages} to {room}: not sent ({reason}). By {senders}. The log has the text."
        key, notified = recipient.lower(), self._networks.config(backend).BOT_ADMINS_NOTIFICATIONS
        # A room that gets notices rejects the notice about it, too, and so on.
        interval = _DAY if key in {str(admin).lower() for admin in notified} else INTERVAL
        self._notices.post(("room", backend.network, key, waiting), text, interval=interval, count=number)

    def backend_ended(self, backend: Backend) -> None:
        self._slices.do(partial(self._end, backend))

    def message_received(self, backend: Backend, message: Message) -> None:
        """Run the command in the message, if there is one, and pass the message to the plugins' callbacks. A delayed
        message only reaches the callbacks: it runs no command or filter and answers no question."""
        if message.edited:
            self.message_edited(backend, message)
        elif not backend.is_from_self(message):
            if message.attachments:
                self._bind(message)
            self.states[backend.network].received += 1
            self._slices.do(partial(self._receive, backend, message))

    def message_edited(self, backend: Backend, message: Message) -> None:
        if not backend.is_from_self(message):
            message.edited = True
            self._bind(message)
            self.callback_requested(backend, "callback_message_edited", message)

    def message_deleted(self, backend: Backend, ref: MessageRef, by: Identifier | None) -> None:
        self.callback_requested(backend, "callback_message_deleted", ref, by)

    def gap_found(self, backend: Backend, room: Room, since: float, until: float) -> None:
        begin, end = (datetime.fromtimestamp(time, UTC).strftime("%H:%M") for time in (since, until))
        text = f"Some messages to {room} on {backend.network} between {begin} and {end} UTC were not read: there were more "
        text += "than the bot reads after it was away, or the network didn't send them in time."
        self.log.warn("{text}", text=text)
        self._notices.post(("gap", backend.network, str(room)), text)

    def command_received(self, backend: Backend, message: Message) -> None:
        self._slices.do(partial(self._dispatch, backend, message))

    def callback_requested(self, backend: Backend, callback: str, *details: Any) -> None:
        self._slices.do(partial(self._callbacks.call, backend, callback, *details))

    def mention_received(self, backend: Backend, message: Message, people: Sequence[Identifier]) -> None:
        if not (self._stopped or message.delayed):
            self._callbacks.call(backend, "callback_mention", message, people)

    def presence_changed(self, backend: Backend, presence: Presence) -> None:
        if presence.status == ONLINE:
            self._notices.person_seen(backend, presence.identifier)
        self._callbacks.call(backend, "callback_presence", presence)

    def reaction_changed(self, backend: Backend, reaction: Reaction) -> None:
        self._callbacks.call(backend, "callback_reaction", reaction)

    def choice_made(self, backend: Backend, press: Press) -> str:
        with assigned(handled_network, backend.network):
            return self._dispatcher.conversations.press(backend, press)

    def stream_offered(self, backend: Backend, stream: Stream) -> None:
        """Pass a copy to each plugin that overrides `callback_stream`. If none does, the stream is rejected."""
        with assigned(handled_network, backend.network):
            self._streams.offer(stream)

    def room_joined(
        self, backend: Backend, room: Room, identifier: Identifier | None = None, invited_by: Identifier | None = None
    ) -> None:
        self._callbacks.call(backend, "callback_room_joined", room, identifier or backend.bot_identifier, invited_by)

    def room_left(
        self, backend: Backend, room: Room, identifier: Identifier | None = None, kicked_by: Identifier | None = None
    ) -> None:
        self._callbacks.call(backend, "callback_room_left", room, identifier or backend.bot_identifier, kicked_by)

    def room_topic_changed(self, backend: Backend, room: Room) -> None:
        self._callbacks.call(backend, "callback_room_topic", room)

    def _bind(self, message: Message) -> None:
        """Let threads read the attachments."""
        for attachment in message.attachments:
            attachment.result_of = self._bot.waits.result_of

    def _end(self, backend: Backend) -> None:
        state = self.states[backend.network]
        state.connected_at, state.ended = None, True
        if not self.open_networks:
            self._all_ended()

    def _receive(self, backend: Backend, message: Message) -> None:
        if self._stopped:
            return
        is_passed_on = message.delayed or self._dispatch(backend, message)
        if is_passed_on:
            self._callbacks.call(backend, "callback_message", message)

    def _dispatch(self, backend: Backend, message: Message) -> bool:
        """Run the command in the message. Return whether the message is passed to the plugins' callbacks."""
        # Bots must not reply to notices automatically, nor to each other, since they could do so endlessly (RFC 2812, 3.3.2).
        extras = message.extras if isinstance(message.extras, Mapping) else {}
        if self._stopped or extras.get("notice") or extras.get("bot") or message.edited:
            return True
        if message.is_direct:
            self._notices.person_seen(backend, message.frm)
        network, by = handled_network.set(backend.network), origin.set(person_origin(backend.network, message.frm))
        try:
            return self._dispatcher.dispatch(backend, message)
        finally:
            origin.reset(by)
            handled_network.reset(network)
