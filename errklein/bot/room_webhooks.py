"""The webhooks of rooms: made, changed and removed while the bot runs, and stored among the values; and the messages of
what they receive, at the rate beyond which they are only counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property, partial
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from jinja2 import Environment, FileSystemLoader
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from errklein.chat import Person, Room, RoomError, RoomNotJoinedError
from errklein.commands.operations import Actor, operation
from errklein.config import SecretError, SecretStore
from errklein.config.networks import is_local
from errklein.dispatch import Networks, RoomOperations
from errklein.journal.operations import WebhookOperations
from errklein.listening import endpoint_url
from errklein.ports.chat import Backend
from errklein.ports.outbox import OutboxClosed, OutboxFull
from errklein.ports.receipts import Receipt
from errklein.ports.values import Store
from errklein.running import TokenBucket, WorkerPool
from errklein.sources import find_source
from errklein.storage import ROOM_SECRETS, ROOM_WEBHOOKS, MemoryStorage
from errklein.text import code, plain
from errklein.text.errors import line_in, one_line
from errklein.text.masking import OWN_SECRET
from errklein.text.neutralising import without_people
from errklein.text.suggestions import did_you_mean
from errklein.verify import digest_of
from errklein.webhooks import Hook
from errklein.webhooks.option_values import HookError, Rate
from errklein.webhooks.options import (
    DAY,
    KEPT_EXPIRED,
    NAME,
    NOTICE_BEFORE,
    RoomWebhook,
    check_signed,
    new_secret,
    new_token,
)
from errklein.webhooks.source import FILTERS, Event, Markdown, Source, filled, linked, message, render, value

if TYPE_CHECKING:
    from errklein.bot._bot import Bot

UNUSED_SECRETS_KEPT = 7 * DAY
"""The seconds for which a secret that no webhook uses is kept at a start: a restore may bring its webhook back."""

RETRY = 60.0  # the seconds after which a change that is due is tried again, if the storage has failed

_MOST_NAMED = 100
_LONGEST_SECRET = 1000

Send = Callable[..., Receipt]


@dataclass(eq=False)
class _Limit:
    """The messages that a webhook may send now, and the number of those that were left out, by room."""

    bucket: TokenBucket
    left_out: Counter[str] = field(default_factory=Counter)
    summary: IDelayedCall | None = None


class RoomMessages:
    """Sends what webhooks of rooms receive. Messages beyond the rate of a webhook are left out. When half of the rate
    is free again, one line gives their number, so that in a long flood it alternates with some messages. Templates, in
    the directory of config.py if there is one, are rendered in threads of the pool."""

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


@dataclass(frozen=True)
class MadeWebhook:
    """A webhook that was made or rotated, with what only its maker may see: `url` and `secret` are to be entered at the
    source; the secret is empty for a source that makes it, or that signs nothing. `setup` are at most three lines that
    tell what to do there. `reach` tells who can reach the address, and what to do if that isn't the source, unless
    PUBLIC_URL is set; and how long it works if it isn't stored."""

    webhook: RoomWebhook
    url: str = field(repr=False)
    secret: str = field(repr=False)
    setup: Sequence[str] = field(repr=False)
    reach: str = ""

    def lines(self, prefix: str = "") -> list[str]:
        """Return all of it as lines of Markdown. `prefix` is that of commands where a secret of the source may be given, if anywhere."""
        name, secret = self.webhook.name, [f"Secret: {code(self.secret)}"] if self.secret else []
        if not (self.secret or self.webhook.token):
            told = f"{code(f'{prefix}webhook set {name} secret SECRET')} here"
            secret = [f"Then set the secret with {told if prefix else code(f'errklein webhook set {name} secret')}."]
        return [f"URL: {code(self.url)}", *secret, *self.setup, *([plain(self.reach)] if self.reach else [])]


class RoomWebhooks:
    """The webhooks of rooms. Each operation raises HookError, SecretError or StorageError if nothing has changed.
    `deliveries` runs those of a webhook that an administrator has paused."""

    log = Logger(namespace="errklein.bot")

    def __init__(self, bot: Bot, messages: RoomMessages, rooms: RoomOperations, deliveries: WebhookOperations) -> None:
        self._web, self._storage, self._secrets = bot.web, bot.storage, SecretStore.of(bot.bot_config.BOT_DATA_DIR)
        self._messages, self._rooms, self._notify, self._deliveries = messages, rooms, bot.tell_admins, deliveries
        self._plugins, self._reactor, self._now = bot.plugin_manager, bot.reactor, bot.now
        self._bot = bot
        self._configured: Mapping[str, RoomWebhook] = {}
        self._stored: dict[str, RoomWebhook] = {}
        """Those that can be changed here. One that the configuration has, too, has no route."""
        self._opened: Store | None = None
        self._next: Any = None
        self._is_running = False
        # One change after the other, since each reads, writes and then routes.
        self._changes = DeferredLock()

    async def load(self, configured: Mapping[str, RoomWebhook], *, in_service: bool = True) -> None:
        """Route the stored webhooks, and those of the configuration. Administrators get one notice about those that
        can't be used. `in_service` states that this process runs the bot, and removes secrets that aren't used."""
        await self.read_again()
        self._report_unusable(self._stored)
        # Without webhooks, the secrets may belong to those of another storage.
        if self._stored and in_service:
            used = {reference for one in self._stored.values() for reference in one.references}
            before = self._now() - UNUSED_SECRETS_KEPT
            await self._storage.in_background(lambda: self._secrets.remove_unused(used, before))
        self.use_settings(configured)

    async def read_again(self) -> None:
        """Route the stored webhooks that have changed, perhaps by another process."""

        def read() -> dict[str, Any]:
            self._share_secrets()
            return {name: self._store.get(name) for name in sorted(self._store.keys())}

        def put(webhook: RoomWebhook) -> None:
            if self._stored.get(webhook.name) != webhook:
                self._stored[webhook.name] = webhook
                self._route(webhook.name)

        rows = await self._storage.in_background(read)
        for name in [name for name in self._stored if name not in rows]:
            del self._stored[name]
            self._route(name)
        for name, stored in rows.items():
            try:
                put(RoomWebhook.of_stored(name, stored))
            except (AttributeError, LookupError, TypeError, ValueError) as error:
                # Such as one of a source whose package isn't installed.
                put(RoomWebhook.of_unusable(name, stored, str(error)))

    async def own(self) -> None:
        """Run those that were run elsewhere, since this process has become the owner."""
        await self.load(self._configured)
        for one in self.all():
            self._route(one.name)
        self.start()

    def use_settings(self, configured: Mapping[str, RoomWebhook]) -> None:
        """Route the webhooks of the configuration in place of those of the one before, and of stored ones of the same
        names. All secrets are read again, since files may have changed."""
        rooms, before = self.rooms(), self._configured
        self._configured = configured
        checks, named = self._web.services.checks, self._web.routes.named
        for name in {**before, **configured}:
            # One that doesn't change keeps the rate that it has used up.
            if before.get(name) != configured.get(name) or not checks.has_same_secrets(named[name].hook):
                self._route(name)
        if self._bot.owns and (taken := sorted(configured.keys() & self._stored.keys() - before.keys())):
            self._notify(
                f"The configuration has webhooks with the names of others that were made in a chat: {_some(taken)}. The addresses "
                "of those don't work until WEBHOOKS names the new ones otherwise."
            )
        self._report_unusable(configured)
        self._join_missing(self.rooms() - rooms)

    def rooms(self) -> set[str]:
        """Return the names of all rooms to which messages may go. May be called in any thread."""
        return {room for one in self.all() for room in (one.rooms or [one.room]) if room}

    def start(self) -> None:
        """Send notices of expiries, and end what has expired, from now on."""
        self._is_running = True
        self._schedule()

    def stop(self) -> None:
        """End this. The webhooks are still found."""
        self._is_running = False
        self._schedule()

    def find(self, name: str) -> RoomWebhook | None:
        """Return the webhook of this name; None if there is none."""
        return self._configured.get(name) or self._stored.get(name)

    def all(self) -> Sequence[RoomWebhook]:
        """Return all webhooks of rooms by name."""
        return [one for _, one in sorted({**self._stored, **self._configured}.items())]

    @operation("webhook_new", "source", "name", "room", changes=True)
    async def create(
        self, by: Actor, source: str, room: str, name: str = "", signed: bool | None = None, expires: str = ""
    ) -> MadeWebhook:
        """Make a webhook whose messages go to a room. By default its name is that of the source, with a number if it is
        taken, and it is `signed`, instead of having a token in the address, as is usual for the source. It expires at a
        time such as "90d" or "2027-01-31"."""
        found, room = find_source(source), await self._checked(room)
        signs = found.signs if signed is None else signed
        check_signed(found, signed=signs)
        secret = new_secret() if signs and not found.issues_secret else ""
        token = "" if signs else new_token()
        async with self._changes:
            new = RoomWebhook(self._free_name(name, source), source, room, made_by=by.name, made_at=self._now())
            new = replace(new, signed=signs and not found.signs).changed("expires", expires, self._now())
            made = await self._replace(lambda: self._with_secrets(new, secret, token))
            name = made.name
        self._join_missing([room])
        return self._shown(made, found, token, secret)

    @operation("webhook_set", "name", "option", "value", changes=True, hidden=("value",))
    async def change(self, by: Actor, name: str, option: str, value: str) -> RoomWebhook:
        """Change an option of a webhook: events, expires, messages, rate, text, or the secret that its source has made.
        A secret that was valid before stays valid for a day."""
        async with self._changes:
            webhook = self._changeable(name)
            if option == "secret":
                if webhook.token:
                    raise HookError(f"the address of {name} has a token, not a secret; make a new one with rotate")
                if not 0 < len(value.strip()) <= _LONGEST_SECRET:
                    raise HookError(f"the secret is empty, or longer than {_LONGEST_SECRET} characters")
                changed = await self._rotate(webhook, value.strip(), "")
            else:
                fresh = webhook.changed(option, value, self._now())
                changed = await self._replace(lambda: fresh)
        return changed

    @operation("webhook_rotate", "name", changes=True)
    async def rotate(self, by: Actor, name: str) -> MadeWebhook:
        """Make a new token or secret. The one before stays valid for a day."""
        async with self._changes:
            webhook = self._changeable(name)
            source = find_source(webhook.source)
            if source.issues_secret and not webhook.token:
                raise HookError(f"{source.title} makes the secret; make a new one there, and set it as `secret`")
            secret, token = ("", new_token()) if webhook.token else (new_secret(), "")
            rotated = await self._rotate(webhook, secret, token)
        return self._shown(rotated, source, token, secret)

    @operation("webhook_move", "name", "room", changes=True)
    async def move(self, by: Actor, name: str, room: str) -> RoomWebhook:
        """Send the messages of a webhook to another room from now on."""
        room = await self._checked(room)
        async with self._changes:
            fresh = replace(self._changeable(name), room=room)
            moved = await self._replace(lambda: fresh)
        self._join_missing([room])
        return moved

    @operation("webhook_remove", "name", changes=True)
    async def remove(self, by: Actor, name: str) -> None:
        """Remove a webhook and its secret. A new one of its name isn't paused."""
        async with self._changes:
            await self._remove(by, self._changeable(name, is_removed=True))

    async def forget_maker(self, network: str, names: Collection[str]) -> list[str]:
        """Remove who has made the webhooks of a network's rooms, if it is one of these names. Return the names of the webhooks."""
        async with self._changes:
            stored = [one for one in self._stored.values() if not one.unusable and one.room.startswith(f"{network}:")]
            made = [one for one in stored if one.made_by in names]
            for one in made:
                await self._replace(lambda one=one: replace(one, made_by=""))  # type: ignore[misc]
        return [one.name for one in made]

    async def _remove(self, by: Actor, webhook: RoomWebhook) -> None:
        await self._storage.in_background(lambda: self._store.remove(webhook.name))
        del self._stored[webhook.name]
        self._changed(webhook.name)
        await self._forget(webhook.references)
        if webhook.name in self._deliveries.paused(by):
            await self._deliveries.resume(Actor(by.name), webhook.name)

    async def _rotate(self, webhook: RoomWebhook, secret: str, token: str) -> RoomWebhook:
        def write() -> RoomWebhook:
            try:
                if webhook.secret:
                    self._secrets.read(webhook.secret)
                previous = webhook.rotated(self._now())
            except SecretError:
                # It was lost in a restore; with it, the webhook would stay unusable.
                previous = replace(webhook, previous=None)
            return self._with_secrets(previous, secret, token)

        rotated = await self._replace(write)
        await self._forget({*webhook.references}.difference(rotated.references))
        return rotated

    def _with_secrets(self, webhook: RoomWebhook, secret: str, token: str) -> RoomWebhook:
        """Return the webhook with the secret, which is stored, or the digest of the token. Waits for the disk."""
        reference = self._secrets.write(webhook.name, secret) if secret else ""
        self._share_secrets()
        return replace(webhook, secret=reference, token=digest_of(token.encode()) if token else "")

    async def _replace(self, make: Callable[[], RoomWebhook]) -> RoomWebhook:
        """Store the webhook that `make` returns in a thread, then route it."""

        def write() -> RoomWebhook:
            made = make()
            self._store.set(made.name, made.stored())
            return made

        made = await self._storage.in_background(write)
        self._stored[made.name] = made
        self._changed(made.name)
        return made

    def _changed(self, name: str) -> None:
        self._route(name)
        self._schedule()
        self._bot.nodes.changed("plugins")

    async def _forget(self, references: Iterable[str]) -> None:
        for reference in references:
            await self._storage.in_background(partial(self._remove_secret, reference))

    def _share_secrets(self) -> None:
        """Write files for secrets that were made on other machines, and let these have those of the owner. Waits for the disk."""
        if self._bot.alone:
            return
        with closing(self._storage.open(ROOM_SECRETS)) as shared:
            names, own = set(shared.keys()), self._secrets.contents()
            self._secrets.put({name: shared.get(name) for name in names - own.keys()})
            for name in own.keys() - names if self._bot.owns else ():
                shared.set(name, own[name])

    def _remove_secret(self, reference: str) -> None:
        self._secrets.remove(reference)
        with closing(self._storage.open(ROOM_SECRETS)) as shared, suppress(KeyError):
            shared.remove(reference.partition(":")[2])

    @property
    def _store(self) -> Store:
        """The values by name. Opened in the thread in which they are used first."""
        if self._opened is None:
            self._opened = self._storage.open(ROOM_WEBHOOKS)
        return self._opened

    def _schedule(self, delay: float = 0.0) -> None:
        """Look at the webhook that is due next, at the earliest after `delay` seconds."""
        if self._next is not None:
            self._next.cancel()
            self._next = None
        due = min((one.due for one in self._stored.values()), default=inf)
        if self._is_running and due < inf:
            # The clock may be set, and epoll allows no longer time than some weeks.
            self._next = self._reactor.callLater(min(max(due - self._now(), delay), DAY), self._look)

    def _look(self) -> None:
        self._next = None
        Deferred.fromCoroutine(self._do_due())

    async def _do_due(self) -> None:
        delay = 0.0
        for name in [one.name for one in self._stored.values() if one.due <= self._now()]:
            try:
                async with self._changes:
                    await self._do_due_of(name)
            except Exception:
                self.log.failure("The webhook {name} has failed to expire or to forget a secret", name=name)
                delay = RETRY
        self._schedule(delay)

    async def _do_due_of(self, name: str) -> None:
        webhook, now = self._stored.get(name), self._now()
        if webhook is None or webhook.due > now:
            return
        if webhook.noticed and 0 < webhook.expires <= now - KEPT_EXPIRED:
            await self._remove(Actor("the expiry"), webhook)
            self.log.info("The expired webhook {name} was removed", name=name)
            return
        fresh = webhook
        if fresh.expires and fresh.expires - NOTICE_BEFORE <= now:
            fresh = replace(fresh, noticed=True)
        if fresh.previous is not None and fresh.previous[1] <= now:
            fresh = replace(fresh, previous=None)
        if fresh.noticed and not webhook.noticed and now < fresh.expires:
            at = f"{datetime.fromtimestamp(fresh.expires):%Y-%m-%d %H:%M}"
            text = f"The webhook {name} of {fresh.room} expires at {at}. To keep it: webhook set {name} expires 90d"
            self._notify(text)
            try:
                self._messages.announce(fresh, Markdown(plain(text)))
            except (OutboxFull, ValueError) as error:
                self.log.warn("{text} Its room didn't get this: {reason}", text=text, reason=str(error))
        await self._replace(lambda: fresh)
        await self._forget({*webhook.references}.difference(fresh.references))

    def _report_unusable(self, webhooks: Mapping[str, RoomWebhook]) -> None:
        """Notify administrators, in one notice, of those of the webhooks that respond with 503."""
        reasons = self._web.services.checks.unusable
        # A secret that the source makes may not be set yet.
        names = [
            name for name, one in webhooks.items() if name in reasons and (one.secret or one.token or one.unusable)
        ]
        if names and self._bot.owns:
            first = f"{names[0]}: {reasons[names[0]]}"
            self._notify(
                f"Webhooks respond with 503 to all requests: {_some(names)}. `why NAME` has the reason, such as of {first}"
            )

    def _join_missing(self, rooms: Collection[str]) -> None:
        if self._is_running and rooms:
            Deferred.fromCoroutine(self._rooms.enter((room, None) for room in rooms))

    async def _checked(self, room: str) -> str:
        try:
            return f"{(found := await self._rooms.identified(self._messages.room(room))).network}:{found}"
        except (RoomError, ValueError) as error:
            raise HookError(f"{room!r} is no room: {error}") from None

    def _changeable(self, name: str, *, is_removed: bool = False) -> RoomWebhook:
        webhook = self.find(name)
        if webhook is None:
            hint = did_you_mean(name, [one.name for one in self.all()]) or "."
            raise HookError(f"there is no webhook {name!r} of a room{hint}")
        if webhook.is_from_file:
            raise HookError(f"the webhook {name} is in the configuration file; change WEBHOOKS there, and reload it")
        if webhook.unusable and not is_removed:
            raise HookError(f"the webhook {name} can only be removed, since it can't be used: {webhook.unusable}")
        return webhook

    def _free_name(self, name: str, source: str) -> str:
        if name:
            if NAME.fullmatch(name) is None or OWN_SECRET.fullmatch(name):
                raise HookError(f"invalid name {name!r}: expected at most 40 of a-z, 0-9 and '-', and a letter first")
            if self._is_taken(name):
                raise HookError(f"there is a webhook or plugin {name} already; choose another name")
            return name
        source, number = source.replace("_", "-").lower(), 1
        while self._is_taken(free := source if number == 1 else f"{source}-{number}"):
            number += 1
        return free

    def _is_taken(self, name: str) -> bool:
        return self.find(name) is not None or any(plugin.name == name for plugin in self._plugins.found)

    def _route(self, name: str) -> None:
        """Route the webhook of this name, of the configuration or else the stored one; or none."""
        webhook = self.find(name)
        # Not one of a plugin's name.
        if webhook is None or NAME.fullmatch(name) is None:
            self._web.routes.drop(name)
            return
        network = webhook.room.partition(":")[0]
        if not (webhook.is_from_file or webhook.unusable or network in self._messages.networks.backends):
            reason = f"the bot has no network {network}; use `webhook move {name} ROOM`, or name the network so again"
            webhook = replace(webhook, unusable=reason)
        declaration = webhook.declaration(find_source, self._web.routes.prefix)
        handler = self._messages.handler(webhook)
        active, elsewhere = not webhook.unusable, not self._bot.owns
        hook = Hook("", name, declaration, handler, active, webhook.made_at, elsewhere)
        self._web.routes.put(hook, webhook.digests)

    def _shown(self, webhook: RoomWebhook, source: Source, token: str, secret: str) -> MadeWebhook:
        settings = self._web.site.settings
        site, reach = (settings.public_url, "") if settings.public_url else _reach(self._web.listeners.public)
        if isinstance(self._storage, MemoryStorage):
            reach = f"{reach} STORAGE is 'Memory', so the webhook ends with the process.".strip()
        path = "/".join(filter(None, ["" if source.short_url and token else webhook.name, token]))
        url = f"{site}{settings.base_path}{self._web.routes.prefix}/{path}"
        setup = _setup(source.setup, url.removesuffix(f"/{path}"), url, secret, token)
        return MadeWebhook(webhook, url, secret, setup, reach)


def _reach(endpoints: Iterable[str]) -> tuple[str, str]:
    """Return the beginning of URLs without PUBLIC_URL, and who can reach them."""
    urls = [endpoint_url(one) for one in endpoints]
    found = next((url for url in urls if url.startswith("http")), "")
    url, _, is_everywhere = found.partition(" ")
    host = urlsplit(url).hostname or ""
    if not urls:
        who = "The bot doesn't listen yet; configure the plugin Webserver, or set WEB."
    elif not url:
        who = "Only a proxy can reach the bot. Replace YOUR-HOST by its address."
    elif is_everywhere:
        who = "Computers in this network can reach this address, with the name of this one in place of localhost."
    elif is_local(host):
        who = "Only this computer can reach this address."
    else:
        who = f"Only computers that can connect to {host} can reach this address."
    return (
        url or "https://YOUR-HOST",
        f"{who} For services on the internet, set PUBLIC_URL; see docs/guides/reach-the-bot.md.",
    )


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return f"{', '.join(names[:_MOST_NAMED])}{more}"


def _setup(lines: Sequence[str], base: str, url: str, secret: str, token: str) -> Sequence[str]:
    """Return the lines of a source's set-up with their values, without those that the address `base` can't have."""
    scheme, _, host = base.partition("://")
    values = {
        "{url}": url,
        "{secret}": secret,
        "{token}": token,
        # Tools that are given a host add `/hooks` themselves.
        "{host}": host.removesuffix("/hooks"),
        "{s}": "s" if scheme == "https" else "",
    }
    usable = [line for line in lines if "{host}" not in line or host.endswith("/hooks")]
    for name, text in values.items():
        usable = [line.replace(name, text) for line in usable]
    return usable
