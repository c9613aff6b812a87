"""The webhooks of rooms: made, changed and removed while the bot runs, and stored among the values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import DeferredLock
from twisted.logger import Logger

from errklein.bot._room_messages import RoomMessages
from errklein.commands.operations import Actor, operation
from errklein.config import SecretStore
from errklein.ports.values import Storage
from errklein.sources import find_source
from errklein.text.suggestions import did_you_mean
from errklein.web import WebServer
from errklein.webhooks import Hook
from errklein.webhooks.option_values import HookError
from errklein.webhooks.room_webhooks import NAME, RoomWebhook, digest_of, new_secret, new_token
from errklein.webhooks.source import Source

NAMESPACE = "room webhooks"
"""The namespace of the values; the keys are names."""

_audit = Logger(namespace="errklein.audit")


@dataclass(frozen=True)
class MadeWebhook:
    """A webhook that was made or rotated, with what only its maker may see.

    :param url: The address to enter at the source.
    :param secret: The secret to enter at the source; empty for a source that makes it, or that signs nothing.
    :param setup: At most three lines that tell what to do at the source.
    :param reach: Who can reach the address, and what to do if that isn't the source; "" if PUBLIC_URL is set.
    """

    webhook: RoomWebhook
    url: str = field(repr=False)
    secret: str = field(repr=False)
    setup: Sequence[str] = field(repr=False)
    reach: str = ""


class RoomWebhooks:
    """The webhooks of rooms. Each operation raises HookError, SecretError or StorageError if nothing has changed.

    :param now: Returns the Unix time.
    """

    log = Logger(namespace="errklein.bot")

    def __init__(
        self,
        web: WebServer,
        storage: Storage,
        stored_secrets: SecretStore,
        messages: RoomMessages,
        now: Callable[[], float],
    ) -> None:
        self._web, self._storage, self._secrets = web, storage, stored_secrets
        self._messages, self._now = messages, now
        self._webhooks: dict[str, RoomWebhook] = {}
        # One change after the other, since each reads, writes and then routes.
        self._changes = DeferredLock()

    async def load(self) -> None:
        """Route the stored webhooks."""

        def read() -> list[tuple[str, Any]]:
            store = self._storage.open(NAMESPACE)
            return [(name, store.get(name)) for name in sorted(store.keys())]

        for name, stored in await self._storage.in_background(read):
            try:
                self._route(RoomWebhook.of_stored(name, stored))
            except (HookError, TypeError, ValueError) as error:
                self.log.error("The webhook {name} can't be used: {reason}", name=name, reason=str(error))

    def find(self, name: str) -> RoomWebhook | None:
        """Return the webhook of this name; None if there is none."""
        return self._webhooks.get(name)

    def all(self) -> Sequence[RoomWebhook]:
        """Return all webhooks of rooms by name."""
        return [self._webhooks[name] for name in sorted(self._webhooks)]

    @operation("webhook_new", "source", "name", "room")
    async def create(self, by: Actor, source: str, room: str, name: str = "") -> MadeWebhook:
        """Make a webhook whose messages go to a room.

        :param name: Its name, by default that of the source, with a number if it is taken.
        """
        found = find_source(source)
        async with self._locked():
            name = self._free_name(name, source)
            token, secret = ("", new_secret()) if found.signs and not found.issues_secret else (new_token(), "")

            def write() -> RoomWebhook:
                made = RoomWebhook(
                    name,
                    source,
                    room,
                    token=digest_of(token) if token else "",
                    secret=self._secrets.write(name, secret) if secret else "",
                    made_by=by.name,
                    made_at=self._now(),
                )
                self._storage.open(NAMESPACE).set(name, made.stored())
                return made

            made = await self._storage.in_background(write)
            self._route(made)
        _audit.info("{by} has made the webhook {name} of {room}", by=by.name, name=name, room=room)
        return self._shown(made, found, token, secret)

    @operation("webhook_remove", "name")
    async def remove(self, by: Actor, name: str) -> None:
        """Remove a webhook and its secret."""
        async with self._locked():
            webhook = self._changeable(name)

            def forget_secrets() -> None:
                for reference in webhook.references:
                    self._secrets.remove(reference)

            await self._storage.in_background(lambda: self._storage.open(NAMESPACE).remove(name))
            del self._webhooks[name]
            self._web.routes.drop(name)
            await self._storage.in_background(forget_secrets)
        _audit.info("{by} has removed the webhook {name}", by=by.name, name=name)

    def _locked(self) -> Any:
        return _Held(self._changes)

    def _changeable(self, name: str) -> RoomWebhook:
        webhook = self._webhooks.get(name)
        if webhook is None:
            hint = did_you_mean(name, self._webhooks) or "."
            raise HookError(f"there is no webhook {name!r} of a room{hint}")
        if webhook.is_from_file:
            raise HookError(f"the webhook {name} is in the configuration file; change WEBHOOKS there, and reload it")
        return webhook

    def _free_name(self, name: str, source: str) -> str:
        if name:
            if NAME.fullmatch(name) is None:
                raise HookError(f"invalid name {name!r}: expected at most 40 of a-z, 0-9 and '-', and a letter first")
            if name in self._webhooks:
                raise HookError(f"there is a webhook {name} already; choose another name")
            return name
        number = 1
        while (free := source if number == 1 else f"{source}-{number}") in self._webhooks:
            number += 1
        return free

    def _route(self, webhook: RoomWebhook) -> None:
        declaration = webhook.declaration(find_source(webhook.source), self._web.routes.prefix)
        self._web.routes.put(Hook("", webhook.name, declaration, self._messages.handler(webhook)), webhook.digests)
        self._webhooks[webhook.name] = webhook

    def _shown(self, webhook: RoomWebhook, source: Source, token: str, secret: str) -> MadeWebhook:
        settings = self._web.site.settings
        site = settings.public_url or next(iter(self._web.listeners.open_now), "")
        path = "/".join(filter(None, ["" if source.short_url and token else webhook.name, token]))
        url = f"{site}{settings.base_path}{self._web.routes.prefix}/{path}"
        return MadeWebhook(webhook, url, secret, _setup(source.setup, url.removesuffix(f"/{path}"), url, secret, token))


def _setup(lines: Sequence[str], base: str, url: str, secret: str, token: str) -> Sequence[str]:
    """Return the lines of a source's set-up with their values, without those that this address can't have.

    :param base: The address without the name and token.
    """
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
    for name, value in values.items():
        usable = [line.replace(name, value) for line in usable]
    return usable


class _Held:
    """Holds a lock in an `async with` block."""

    def __init__(self, lock: DeferredLock) -> None:
        self._lock = lock

    async def __aenter__(self) -> None:
        await self._lock.acquire()

    async def __aexit__(self, *_: object) -> None:
        self._lock.release()
