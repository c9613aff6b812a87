"""The messages of webhooks of rooms: their texts and rooms, and their rate, beyond which they are counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from jinja2 import Environment, FileSystemLoader
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from errklein.chat import Person, Room, RoomNotJoinedError
from errklein.dispatch import Networks
from errklein.ports.chat import Backend
from errklein.ports.outbox import OutboxClosed, OutboxFull
from errklein.ports.receipts import Receipt
from errklein.running import TokenBucket, WorkerPool
from errklein.text import code
from errklein.text.errors import line_in, one_line
from errklein.text.neutralising import without_people
from errklein.webhooks.option_values import Rate
from errklein.webhooks.room_webhooks import RoomWebhook
from errklein.webhooks.source import Event
from errklein.webhooks.texts import FILTERS, Markdown, filled, linked, message, render, value

Send = Callable[..., Receipt]


@dataclass(eq=False)
class _Limit:
    """The messages that a webhook may send now, and the number of those that were left out, by room."""

    bucket: TokenBucket
    left_out: Counter[str] = field(default_factory=Counter)
    summary: IDelayedCall | None = None


class RoomMessages:
    """Sends what webhooks of rooms receive.

    Messages beyond the rate of a webhook are left out. When half of the rate is free again, one line gives their number, so that
    in a long flood it alternates with some messages.

    :param send: Sends a message, as `Bot.send`.
    :param pool: The threads in which templates are rendered.
    :param directory: The directory of templates, that of config.py; None without a configuration file.
    """

    log = Logger(namespace="errklein.bot")

    def __init__(
        self, reactor: IReactorTime, networks: Networks, send: Send, pool: WorkerPool, directory: Path | None = None
    ) -> None:
        self._reactor, self.networks, self._send = reactor, networks, send
        self._pool, self._directory = pool, directory
        # Equal webhooks share one. A webhook that was changed begins with a full bucket.
        self._limits: WeakKeyDictionary[RoomWebhook, _Limit] = WeakKeyDictionary()

    def handler(self, webhook: RoomWebhook) -> Callable[[Any], Awaitable[None]]:
        return _RoomHandler(self, webhook).handle

    def announce(self, webhook: RoomWebhook, text: Markdown) -> None:
        """Send a text about the webhook to its room. Raises ValueError."""
        self._say(webhook.rooms[0] if webhook.rooms else webhook.room, text)

    async def show(self, webhook: RoomWebhook, event: Event) -> None:
        """Send the message of an event to the webhook's room, or count it. The network may accept it later: it is
        stored with the end of the delivery, as messages of plugins."""
        text = await self._text(webhook, event)
        if not text:
            return
        room, limit = _room_of(webhook, event), self._limit(webhook)
        if limit.summary is None and not limit.bucket.take():
            self._say(room, text)
            return
        limit.left_out[room] += 1
        if limit.summary is None:
            self._summarise_later(webhook, limit)

    def stop(self) -> None:
        for webhook, limit in list(self._limits.items()):
            if limit.summary is not None:
                limit.summary.cancel()
                self._summarise(webhook, limit)

    def _limit(self, webhook: RoomWebhook) -> _Limit:
        limit = self._limits.get(webhook)
        if limit is None:
            rate = Rate.of(webhook.messages)
            limit = self._limits[webhook] = _Limit(TokenBucket(self._reactor.seconds, rate.interval, rate.count))
        return limit

    def _summarise_later(self, webhook: RoomWebhook, limit: _Limit) -> None:
        delay = limit.bucket.interval * ((limit.bucket.burst + 1) // 2)
        limit.summary = self._reactor.callLater(delay, self._summarise, webhook, limit)

    def _summarise(self, webhook: RoomWebhook, limit: _Limit) -> None:
        limit.summary = None
        left_out, limit.left_out = limit.left_out, Counter()
        for room, count in left_out.items():
            events = "1 more event of {name} was" if count == 1 else f"{count} more events of {{name}} were"
            limit.bucket.spend()
            try:
                prefix = self.networks.config(self.networks.of(self.room(room))).BOT_PREFIX
                command = code(f"{prefix}delivery list {webhook.name}")
                self._say(room, Markdown(f"… and {events.format(name=webhook.name)} left out; see {command}"))
            except OutboxFull:
                limit.left_out[room] = count
            except (OutboxClosed, ValueError) as error:
                text = "{count} events of the webhook {name} were left out in {room}: {reason}"
                self.log.warn(text, count=count, name=webhook.name, room=room, reason=str(error))
        if limit.left_out:
            self._summarise_later(webhook, limit)

    def room(self, name: str) -> Room:
        """Return the room of that name, which may begin with that of a network. Raises ValueError."""
        room = self.networks.build_identifier(self.networks.with_network(name))
        if not isinstance(room, Room):
            raise ValueError(f"{name} isn't a room of the network {self.networks.of(room).network}")
        return room

    def _say(self, name: str, text: Markdown) -> None:
        room = self.room(name)
        self._send(room, without_people(text, _nicks(self.networks.of(room), room)))

    async def _text(self, webhook: RoomWebhook, event: Event) -> Markdown:
        most = event.source.most_lines
        if webhook.template and self._directory is not None:
            prepared = partial(self._rendered, self._directory, webhook, event)
            rendered = await self._pool.run(lambda: prepared, name=lambda: f"the template {webhook.template}")
            if rendered is not None:
                return message([rendered], most)
        return message([render(webhook.text, event.values)], most) if webhook.text else event.text()

    def _rendered(self, directory: Path, webhook: RoomWebhook, event: Event) -> Markdown | None:
        """Return the result of the webhook's template, in a thread; None if it can't be rendered."""
        values = {**event.values, "payload": event.payload, "event_name": event.name}
        try:
            template = self._templates.get_template(webhook.template)
            return Markdown(template.render({str(key): given for key, given in values.items()}))
        except Exception as error:
            file, line = line_in(directory, error) or (directory / webhook.template, None)
            text = "{file}{place}: the template of the webhook {name} can't be rendered; its source's message is sent: {reason}"
            place = f", line {line}" if line else ""
            self.log.error(text, file=str(file), place=place, name=webhook.name, reason=one_line(error))
            return None

    @cached_property
    def _templates(self) -> Environment:
        assert self._directory is not None
        # Values are escaped for Markdown. A template is as trustworthy as config.py beside it.
        environment = Environment(  # noqa: S701
            loader=FileSystemLoader(self._directory), finalize=value, trim_blocks=True, lstrip_blocks=True
        )
        environment.filters.update(FILTERS, link=linked)
        return environment


@dataclass(frozen=True)
class _RoomHandler:
    # Equal for equal webhooks, so that a request that was admitted before a change of others is still handled.
    messages: RoomMessages
    webhook: RoomWebhook

    async def handle(self, event: Event) -> None:
        await self.messages.show(self.webhook, event)


def _room_of(webhook: RoomWebhook, event: Event) -> str:
    """Return the room for an event: only one in the list of rooms, if a payload chooses it."""
    if not webhook.rooms:
        return webhook.room
    wanted = filled(webhook.room, event.values).casefold()
    return next((room for room in webhook.rooms if room.casefold() == wanted), webhook.rooms[0])


def _nicks(backend: Backend, room: Room) -> list[str]:
    """Return the names that notify people in the room wherever they are written."""
    if not backend.features(room).highlights_names:
        return []
    try:
        occupants = room.occupants
    except RoomNotJoinedError:
        return []
    return [one.nick for one in occupants if isinstance(one, Person) and one.nick]
