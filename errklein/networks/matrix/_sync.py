"""Reading of events: the long poll of a homeserver, and what was missed while the bot was away."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred

from errklein.networks._connection import Unusable
from errklein.networks._json_client import RequestRefused
from errklein.networks.matrix._client import mapping, quoted, text_of
from errklein.networks.outbox import NotConfirmed

if TYPE_CHECKING:
    from errklein.networks.matrix._backend import MatrixBackend

Event = Mapping[str, Any]

POLL, PATIENCE = 30.0, 15.0
"""The seconds for which the homeserver waits for events, and those that its response may take beyond."""

TIMELINE = 50
"""The number of events of a room in a response. What was before is read as a gap."""

_DAY = 86400.0
"""The age from which a position isn't used: nobody expects answers to older commands."""

_RENEW = 3600.0
"""The seconds after which the position is stored again if nothing has happened."""

_INVITED = 300.0
"""The seconds before the bot's join in which those who invited it may have written to it."""

_STATE = (
    "m.room.canonical_alias",
    "m.room.create",
    "m.room.encryption",
    "m.room.member",
    "m.room.name",
    "m.room.topic",
)


class MatrixSync:
    """Reads events in `session`, and passes them on: state to the rooms, messages to the receiver."""

    def __init__(self, backend: MatrixBackend) -> None:
        self._backend, self._client, self._rooms = backend, backend.client, backend.membership
        self._now = backend.context.now
        self._seen = backend.context.seen("sync")
        self._is_loaded = self._has_state = False
        self._left_at = 0.0
        """The time of the answer before the current one."""
        self._poll: Deferred[Any] | None = None
        self._broken: NotConfirmed | None = None
        self._client.broken = self._interrupt

    async def session(self) -> None:
        """Log in, and read events until that fails."""
        self._broken = None
        await self._client.log_in()
        since = await self._position()
        is_first = True
        while True:
            is_new = not since
            try:
                answer = await self._read(since, 0.0 if is_first else POLL)
            except RequestRefused as error:
                if error.status != 400 or is_new:
                    raise Unusable(f"the homeserver refuses to send events ({error})") from None
                # As after the homeserver's database was restored.
                self._backend.context.log.warn(
                    "{network}: events since the last connection can't be read: {reason}",
                    network=self._backend.network,
                    reason=str(error),
                )
                since = self._store("")
                self._has_state = False
                self._rooms.clear()
                continue
            before, self._left_at = since, mapping(self._seen.position).get("at", 0.0)
            since = self._store(text_of(answer.get("next_batch")))
            if not is_new and self._has_messages(answer):
                # Before they are handled: no command runs again if the process is killed.
                await self._seen.flush()
            await self._handle(answer, before)
            if is_first:
                is_first, self._has_state = False, True
                self._backend.connection.connected()
                self._rooms.connected()
                await self._backend.signed_on()

    def flush(self) -> Deferred[None]:
        """Store the position. Call it when the bot disconnects."""
        return self._seen.flush()

    def _interrupt(self, error: NotConfirmed) -> None:
        self._broken = error
        if self._poll is not None:
            self._poll.cancel()

    async def _position(self) -> str:
        """Return the position of the latest event that was handled; "" for the present."""
        if not self._is_loaded:
            await self._seen.load()
            self._is_loaded = True
        stored = mapping(self._seen.position)
        is_valid = stored.get("user") == self._client.user and self._now() - stored.get("at", 0.0) < _DAY
        if not is_valid:
            self._has_state = False
            self._rooms.clear()
        return text_of(stored.get("since")) if is_valid else ""

    def _store(self, since: str) -> str:
        stored = mapping(self._seen.position)
        if since != stored.get("since") or self._now() - stored.get("at", 0.0) >= _RENEW:
            self._seen.position = {"user": self._client.user, "since": since, "at": self._now()}
        return since

    async def _read(self, since: str, wait: float) -> Mapping[str, Any]:
        params = {
            "filter": json.dumps(_filter(TIMELINE if since else 1, fresh=not since)),
            "timeout": str(int(wait * 1000)),
            "set_presence": self._backend.presence[0],
        }
        if since:
            params["since"] = since
            params["full_state"] = "false" if self._has_state else "true"
        # Reading the whole state may take long.
        timeout = POLL + PATIENCE if self._has_state else 4 * POLL
        self._poll = self._client.call("GET", "/sync", params=params, timeout=timeout)
        try:
            answer = await self._poll
        except CancelledError:
            if self._broken is None:
                raise
            raise self._broken from None
        finally:
            self._poll = None
        if self._broken is not None:
            raise self._broken
        if not text_of(mapping(answer).get("next_batch")):
            raise NotConfirmed("the homeserver has answered without a position")
        return mapping(answer)

    def _has_messages(self, answer: Mapping[str, Any]) -> bool:
        """Return whether there is a message of somebody else, which may be a command."""
        timelines = (_events(joined, "timeline") for joined in _rooms_of(answer, "join").values())
        return any(
            event.get("type") == "m.room.message" and event.get("sender") != self._client.user
            for timeline in timelines
            for event in timeline
        )

    async def _handle(self, answer: Mapping[str, Any], since: str) -> None:
        for event in _events(answer, "account_data"):
            self._rooms.account_data(event)
        for room, invited in _rooms_of(answer, "invite").items():
            self._rooms.invited(room, _events(invited, "invite_state"))
        with_gap = []
        for room, joined in _rooms_of(answer, "join").items():
            # What happened in a room before the bot joined it is no gap.
            is_old = self._rooms.is_joined(room) or not self._has_state
            if since and is_old and mapping(joined.get("timeline")).get("limited"):
                with_gap.append((room, joined))
            else:
                self._room(room, joined, since, is_old)
        for room, left in _rooms_of(answer, "leave").items():
            self._rooms.left(room, [*_events(left, "state"), *_events(left, "timeline")], quietly=not since)
        for event in _events(answer, "presence"):
            self._backend.receiver.presence(event)
        # They take time, and the others needn't wait.
        for room, joined in with_gap:
            await self._gap(room, mapping(joined.get("timeline")), since)
            self._room(room, joined, since, is_old=True)

    def _room(self, room: str, joined: Mapping[str, Any], since: str, is_old: bool) -> None:
        is_gap = is_old and self._has_state and mapping(joined.get("timeline")).get("limited") is True
        self._rooms.summary(room, mapping(joined.get("summary")), is_gap)
        for event in _events(joined, "state"):
            self._rooms.state(room, event)
        timeline = list(_events(joined, "timeline"))
        begin = 0 if is_old else self._first_for_bot(timeline)
        joined_at = _time(timeline[-1]) if timeline and not is_old else 0.0
        for number, event in enumerate(timeline):
            is_current = bool(since) and number >= begin and self._seen.is_new(text_of(event.get("event_id")))
            if "state_key" in event:
                self._rooms.state(room, event, is_current)
            elif is_current:
                self._backend.receiver.receive(room, event, joined_at - _time(event) > _INVITED)

    def _first_for_bot(self, timeline: Sequence[Event]) -> int:
        """Return the number of the first event for the bot in a room that is new to it: after its invitation, or its join."""
        for number, event in enumerate(timeline):
            if event.get("type") == "m.room.member" and event.get("state_key") == self._client.user:
                return number
        return 0

    async def _gap(self, room: str, timeline: Mapping[str, Any], since: str) -> None:
        """Read the messages between `since` and the timeline, at most `missed`, and report what is still missing."""
        most, missed, begin = self._backend.settings.missed, list[Event](), text_of(timeline.get("prev_batch"))
        while begin and len(missed) < most:
            limit = min(100, most - len(missed))
            params = {"dir": "b", "from": begin, "to": since, "limit": str(limit)}
            with suppress(RequestRefused):
                page = mapping(await self._client.call("GET", f"/rooms/{quoted(room)}/messages", params=params))
                missed += _events(page, "chunk")
                begin = text_of(page.get("end")) if page.get("chunk") else ""
                continue
            break
        for event in reversed(missed):
            if "state_key" not in event and self._seen.is_new(text_of(event.get("event_id"))):
                self._backend.receiver.receive(room, event, True)
        if begin:
            shown = missed or list(_events({"timeline": timeline}, "timeline"))
            until = _time(shown[-1] if missed else shown[0]) if shown else self._now()
            self._rooms.gap(room, self._left_at, until)


def _filter(limit: int, fresh: bool) -> dict[str, Any]:
    nothing: dict[str, Any] = {"types": []}
    account = {"types": ["m.direct"]}
    if fresh:
        # Synapse answers to the same first request with what it has answered minutes ago: commands would run again.
        account["not_types"] = [f"errklein.{token_hex(8)}"]
    return {
        "account_data": account,
        "room": {
            "account_data": nothing,
            "ephemeral": nothing,
            "state": {"types": list(_STATE), "lazy_load_members": True},
            "timeline": {"limit": limit},
        },
    }


def _rooms_of(answer: Mapping[str, Any], membership: str) -> Mapping[str, Mapping[str, Any]]:
    rooms = mapping(mapping(answer.get("rooms")).get(membership))
    return {room: mapping(content) for room, content in rooms.items()}


def _events(content: Mapping[str, Any], name: str) -> Iterator[Event]:
    found = content.get(name)
    events = found if isinstance(found, list) else mapping(found).get("events")
    return (event for event in events or () if isinstance(event, dict))


def _time(event: Event) -> float:
    """Return the Unix time at which the sender's homeserver has got the event."""
    at = event.get("origin_server_ts")
    return at / 1000 if isinstance(at, (int, float)) else 0.0
