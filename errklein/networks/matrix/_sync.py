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

_DAY, _RENEW = 86400.0, 3600.0
"""The age from which a position isn't used, since nobody expects answers to older commands, and that of one to be stored again."""

_INVITED = 300.0
"""The seconds before the bot's join in which those who invited it may have written to it."""

_MARK, _EACH = "errklein.position", 30.0
"""The account data with a copy of the position, and the seconds between changes. It is newer than that of a restored backup."""

_STATE = ["canonical_alias", "create", "encryption", "member", "name", "topic"]


class MatrixSync:
    """Reads events in `session`, and passes them on: state to the rooms, messages to the receiver."""

    def __init__(self, backend: MatrixBackend) -> None:
        self._backend, self._client, self._rooms = backend, backend.client, backend.membership
        self._now, self._seconds = backend.context.now, backend.context.reactor.seconds
        self._seen = backend.context.seen("sync")
        self._is_loaded = self._has_state = self._is_restored = False
        self._left_at = self._marked_at = 0.0
        self._mark: Mapping[str, Any] = {}
        self._poll: Deferred[Any] | None = None
        self._broken: NotConfirmed | None = None

    async def session(self) -> None:
        self._broken = None
        await self._client.log_in()
        since = await self._position()
        if not since or not self._has_state:
            # The state of all rooms, as it is now.
            self._rooms.states.clear()
            try:
                answer = await self._read("", 0.0)
            except RequestRefused as error:
                raise Unusable(f"the homeserver refuses to send events ({error})") from None
            await self._handle(answer, "")
            since, self._has_state = self._restored(since) or self._store(text_of(answer["next_batch"])), True
        wait = 0.0
        while True:
            try:
                answer = await self._read(since, wait)
            except RequestRefused as error:
                if error.status != 400:
                    raise Unusable(f"the homeserver refuses to send events ({error})") from None
                # As after the homeserver's database was restored: the position means nothing.
                self._store("")
                raise NotConfirmed(f"the homeserver refuses to send events ({error})") from None
            before, since = since, self._store(text_of(answer["next_batch"]))
            has_messages = self._has_messages(answer)
            if has_messages:
                # Before they are handled: no command runs again if the process is killed.
                await self._seen.flush()
            await self._handle(answer, before)
            if has_messages and self._seconds() - self._marked_at >= _EACH:
                self._mark_position()
            if not wait:
                wait, self._is_restored = POLL, False
                await self._backend.signed_on()
                self._backend.connection.connected()
                self._rooms.connected()

    def flush(self) -> Deferred[None]:
        return self._seen.flush()

    def interrupt(self, error: NotConfirmed) -> None:
        self._broken = error
        if self._poll is not None:
            self._poll.cancel()

    async def _position(self) -> str:
        """Return the position of the latest event that was handled; "" for the present."""
        if not self._is_loaded:
            await self._seen.load()
            self._is_loaded = True
        stored = mapping(self._seen.position)
        self._left_at = stored.get("at", 0.0)
        is_valid = stored.get("user") == self._client.user and self._now() - self._left_at < _DAY
        return text_of(stored.get("since")) if is_valid else ""

    def _restored(self, since: str) -> str:
        """Return the position from which to go on: that of the account data if the stored one is older."""
        mark = self._mark
        if since and (marked := text_of(mark.get("since"))) and mark.get("number", 0) > self._seen.position["number"]:
            since, self._is_restored, self._left_at = marked, True, mark.get("at", 0.0)
            self._seen.position = {**self._seen.position, "number": mark["number"]}
        return since

    def _store(self, since: str) -> str:
        stored, now = mapping(self._seen.position), self._now()
        if since != stored.get("since") or now - stored.get("at", 0.0) >= _RENEW:
            self._left_at = stored.get("at", now)
            number = stored.get("number", 0) + 1
            self._seen.position = {"user": self._client.user, "since": since, "at": now, "number": number}
        return since

    def _mark_position(self) -> None:
        self._marked_at = self._seconds()
        path = f"/user/{quoted(self._client.user)}/account_data/{_MARK}"
        self._client.call("PUT", path, self._seen.position).addErrback(lambda failure: None)

    async def _read(self, since: str, wait: float) -> Mapping[str, Any]:
        params = {
            "filter": json.dumps(_filter(TIMELINE if since else 1, fresh=not since)),
            "timeout": str(int(wait * 1000)),
            "set_presence": self._backend.presence[0],
        }
        # Reading all that was missed may take long.
        self._poll = self._client.call(
            "GET",
            "/sync",
            params={**params, "since": since} if since else params,
            timeout=wait + PATIENCE if wait else 4 * POLL,
        )
        try:
            answer = mapping(await self._poll)
        except CancelledError:
            if self._broken is None:
                raise
        finally:
            self._poll = None
        if self._broken is not None:
            raise self._broken
        if not text_of(answer.get("next_batch")):
            raise NotConfirmed("the homeserver has answered without a position")
        return answer

    def _has_messages(self, answer: Mapping[str, Any]) -> bool:
        """Return whether there is a message of somebody else, which may be a command."""
        return any(
            event.get("type") == "m.room.message" and event.get("sender") != self._client.user
            for joined in _rooms_of(answer, "join").values()
            for event in _events(joined, "timeline")
        )

    async def _handle(self, answer: Mapping[str, Any], since: str) -> None:
        for event in _events(answer, "account_data"):
            if event.get("type") == _MARK:
                self._mark = mapping(event.get("content"))
            else:
                self._rooms.account_data(event)
        for room, invited in _rooms_of(answer, "invite").items():
            self._rooms.invited(room, list(_events(invited, "invite_state")))
        with_gap = []
        for room, joined in _rooms_of(answer, "join").items():
            # What happened before the bot was there is no gap.
            is_gap = mapping(joined.get("timeline")).get("limited") is True and self._rooms.is_joined(room)
            if since and is_gap and not self._first(list(_events(joined, "timeline"))):
                with_gap.append((room, joined))
            else:
                self._room(room, joined, since)
        for room, left in _rooms_of(answer, "leave").items():
            self._rooms.left(room, [*_events(left, "state"), *_events(left, "timeline")])
        for event in _events(answer, "presence"):
            self._backend.receiver.presence(event)
        # They take time, and the others needn't wait.
        for room, joined in with_gap:
            await self._gap(room, mapping(joined.get("timeline")), since)
            self._room(room, joined, since, is_gap=True)

    def _room(self, room: str, joined: Mapping[str, Any], since: str, is_gap: bool = False) -> None:
        was_in = self._rooms.is_joined(room)
        self._rooms.summary(room, mapping(joined.get("summary")), is_gap)
        for event in _events(joined, "state"):
            self._rooms.state(room, event)
        timeline = list(_events(joined, "timeline"))
        first = self._first(timeline)
        is_new = bool(timeline) and timeline[first].get("state_key") == self._client.user
        joined_at = _time(timeline[-1]) if is_new else 0.0
        for number, event in enumerate(timeline):
            is_current = bool(since) and number >= first and self._seen.is_new(text_of(event.get("event_id")))
            if "state_key" in event:
                self._rooms.state(room, event, is_current)
            elif is_current:
                self._backend.receiver.receive(room, event, joined_at - _time(event) > _INVITED)
        if not was_in:
            self._rooms.complete(room)

    def _first(self, timeline: Sequence[Event]) -> int:
        """Return the number of the first event for the bot: of its invitation, or its join, if that is in the timeline.
        With a position of the account data, which may be some seconds old, it is the bot's last message: what it has
        answered."""
        first = 0
        for number, event in enumerate(timeline):
            is_own = event.get("sender") == self._client.user
            if event.get("type") == "m.room.member" and event.get("state_key") == self._client.user:
                before = mapping(mapping(event.get("unsigned")).get("prev_content")).get("membership")
                is_first = mapping(event.get("content")).get("membership") == "invite" or before not in (
                    "invite",
                    "join",
                )
                first = number if is_first else first
            elif is_own and self._is_restored and "state_key" not in event:
                first = number
        return first

    async def _gap(self, room: str, timeline: Mapping[str, Any], since: str) -> None:
        """Read the messages between `since` and the timeline, at most `missed`, and report what is still missing."""
        most, missed, begin = self._backend.settings.missed, list[Event](), text_of(timeline.get("prev_batch"))
        with suppress(RequestRefused):
            while begin and len(missed) < most:
                params = {"dir": "b", "from": begin, "to": since, "limit": str(min(100, most - len(missed)))}
                page = mapping(await self._client.call("GET", f"/rooms/{quoted(room)}/messages", params=params))
                missed += _events(page, "chunk")
                begin = text_of(page.get("end")) if page.get("chunk") else ""
        for event in reversed(missed):
            if "state_key" not in event and self._seen.is_new(text_of(event.get("event_id"))):
                self._backend.receiver.receive(room, event, True)
        if begin and self._backend.events is not None:
            known = [*missed[-1:], *_events({"": timeline}, "")]
            until = _time(known[0]) if known else self._now()
            self._backend.events.gap_found(self._backend, self._rooms.room(room), self._left_at, until)


def _filter(limit: int, fresh: bool) -> dict[str, Any]:
    nothing: dict[str, Any] = {"types": []}
    account = {"types": ["m.direct", _MARK]}
    if fresh:
        # Synapse answers to the same request with what it has answered minutes ago: commands would run again.
        account["not_types"] = [token_hex(8)]
    state = {
        "types": [f"m.room.{kind}" for kind in _STATE],
        "lazy_load_members": True,
        # Another process has got them before.
        "include_redundant_members": True,
    }
    of_room = {"account_data": nothing, "ephemeral": nothing, "state": state, "timeline": {"limit": limit}}
    return {"account_data": account, "room": of_room}


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
