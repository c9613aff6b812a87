"""The double of a Matrix homeserver, which refuses what Synapse 1.163 refuses, in its words, and fields that it doesn't know."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from urllib.parse import unquote

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from tests.networks.double import Answer, Call, Double, Routes

SERVER = "localhost"
"""The name of the homeserver."""

LEVELS = {
    "ban": 50,
    "events_default": 0,
    "invite": 0,
    "kick": 50,
    "redact": 50,
    "state_default": 50,
    "users_default": 0,
}

route = Routes()


def refusal(status: int, code: str, text: str, **fields: Any) -> Answer:
    """Return an error as Matrix has them."""
    return Answer(status, {"errcode": code, "error": text, **fields})


def limited(milliseconds: int) -> Answer:
    """Return the answer to somebody who sends too much."""
    return refusal(429, "M_LIMIT_EXCEEDED", "Too Many Requests", retry_after_ms=milliseconds)


@dataclass
class Account:
    """A person with an account."""

    id: str
    password: str
    name: str
    tokens: dict[str, str] = field(default_factory=dict)
    """The devices by access token."""
    data: dict[str, Any] = field(default_factory=dict)
    data_at: int = 0
    presence: dict[str, Any] = field(default_factory=dict)
    presence_at: int = 0
    transactions: dict[tuple[str, str], Any] = field(default_factory=dict)
    first_sync: tuple[str, Any] | None = None


@dataclass
class FakeRoom:
    """A room: all of its events, in order."""

    id: str
    events: list[tuple[int, dict[str, Any]]] = field(default_factory=list)

    def state_at(self, position: int) -> dict[tuple[str, str], dict[str, Any]]:
        """Return the state after the event at the position."""
        found = {}
        for at, event in self.events:
            if at <= position and "state_key" in event:
                found[event["type"], event["state_key"]] = event
        return found

    @property
    def state(self) -> dict[tuple[str, str], dict[str, Any]]:
        """The state now."""
        return self.state_at(1 << 60)

    def membership(self, user: str, position: int = 1 << 60) -> str:
        """Return whether the person is in the room: "join", "invite", "leave", "ban", or ""."""
        event = self.state_at(position).get(("m.room.member", user))
        return event["content"]["membership"] if event else ""

    def content(self, kind: str) -> dict[str, Any]:
        """Return the content of the state of a kind."""
        event = self.state.get((kind, ""))
        return event["content"] if event else {}

    def level(self, user: str) -> int:
        """Return the power level of a person."""
        creation = self.state["m.room.create", ""]
        if creation["sender"] == user:
            return 1 << 30
        levels = self.content("m.room.power_levels")
        return int(levels.get("users", {}).get(user, levels.get("users_default", 0)))


class FakeHomeserver(Double):
    """A homeserver in memory, which also survives `stop` and `start`.

    :param now: Returns the Unix time of events.
    """

    def __init__(self, reactor: Any, now: Callable[[], float]) -> None:
        super().__init__(reactor)
        self.now = now
        self.accounts: dict[str, Account] = {}
        self.rooms: dict[str, FakeRoom] = {}
        self.aliases: dict[str, str] = {}
        self.media: dict[str, tuple[str, bytes]] = {}
        self.position = 0
        self.limits: dict[str, int] = {}
        """Milliseconds for which messages to rooms are refused."""
        self._numbers = count(1)
        self._waiting: list[Deferred[None]] = []

    # For tests

    def register(self, name: str, password: str = "") -> Account:
        """Make an account; the password is by default `pw-NAME`."""
        account = Account(f"@{name}:{SERVER}", password or f"pw-{name}", name)
        self.accounts[account.id] = account
        return account

    def token(self, account: Account) -> str:
        """Return a new access token."""
        token = f"syt_{next(self._numbers)}_of_the_double"
        account.tokens[token] = f"DEVICE{next(self._numbers)}"
        return token

    def revoke(self, user: str) -> None:
        """End all access tokens of a person."""
        self.accounts[user].tokens.clear()
        self.notify()

    def bodies(self, room: str) -> list[str]:
        """Return the texts of the messages in a room."""
        return [
            event["content"].get("body", "")
            for _, event in self.rooms[room].events
            if event["type"] == "m.room.message"
        ]

    def notify(self) -> None:
        """Let those who wait for events look again."""
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.callback(None)

    # The interface

    def answer(self, call: Call) -> Any:
        """Carry out a request."""
        function, parts, is_path = route.find(call)
        if function is None:
            return refusal(405 if is_path else 404, "M_UNRECOGNIZED", "Unrecognized request")
        if call.body and call.json is None and "upload" not in call.path:
            return refusal(400, "M_NOT_JSON", "Content not JSON.")
        return function(self, call, **{name: unquote(part) for name, part in parts.items()})

    def user(self, call: Call) -> Account:
        """Return the account of the request's token."""
        given = call.headers.get("authorization", "")
        if not given.startswith("Bearer "):
            raise refusal(401, "M_MISSING_TOKEN", "Missing access token")
        for account in self.accounts.values():
            if given.removeprefix("Bearer ") in account.tokens:
                return account
        raise refusal(401, "M_UNKNOWN_TOKEN", "Invalid access token passed.", soft_logout=False)

    def device(self, call: Call) -> str:
        """Return the device of the request's token."""
        return self.user(call).tokens[call.headers["authorization"].removeprefix("Bearer ")]

    def joined(self, room: str, user: str) -> FakeRoom:
        """Return a room that the person is in."""
        found = self.rooms.get(room)
        if found is None or found.membership(user) != "join":
            raise refusal(403, "M_FORBIDDEN", f"User {user} not in room {room}")
        return found

    def add(self, room: FakeRoom, sender: str, kind: str, content: Mapping[str, Any], key: str | None = None) -> str:
        """Add an event to a room, and return its id."""
        self.position += 1
        event: dict[str, Any] = {
            "type": kind,
            "sender": sender,
            "content": dict(content),
            "event_id": f"$e{self.position}",
            "origin_server_ts": int(self.now() * 1000),
            "unsigned": {},
        }
        if key is not None:
            before = room.state.get((kind, key))
            if before is not None:
                event["unsigned"] = {"prev_content": before["content"]}
            event["state_key"] = key
        room.events.append((self.position, event))
        self.notify()
        return str(event["event_id"])

    def member(self, room: FakeRoom, sender: str, user: str, membership: str, **content: Any) -> None:
        """Change the membership of a person."""
        account = self.accounts.get(user)
        name = {"displayname": account.name} if account and membership in ("join", "invite") else {}
        self.add(room, sender, "m.room.member", {"membership": membership, **name, **content}, user)

    def may(self, room: FakeRoom, user: str, needed: int, what: str) -> None:
        """Refuse what a person has too little power for."""
        if (level := room.level(user)) < needed:
            text = f"You don't have permission to {what}. user_level ({level}) < send_level ({needed})"
            raise refusal(403, "M_FORBIDDEN", text)

    @route("GET", "/_matrix/client/versions")
    def versions(self, call: Call) -> Any:
        return {"versions": ["v1.11"]}

    @route("POST", "/_matrix/client/v3/register")
    def sign_up(self, call: Call) -> Any:
        given = fields(call, "username", "password", "auth")
        account = self.register(given["username"], given["password"])
        return {"user_id": account.id, "access_token": self.token(account), "home_server": SERVER}

    @route("POST", "/_matrix/client/v3/login")
    def login(self, call: Call) -> Any:
        given = fields(call, "type", "identifier", "password", device_id="", initial_device_display_name="")
        if given["type"] != "m.login.password" or given["identifier"].get("type") != "m.id.user":
            return refusal(400, "M_UNKNOWN", "Unknown login type")
        name = given["identifier"]["user"]
        account = self.accounts.get(name if name.startswith("@") else f"@{name}:{SERVER}")
        if account is None or account.password != given["password"]:
            return refusal(403, "M_FORBIDDEN", "Invalid username or password")
        device = given["device_id"] or f"DEVICE{next(self._numbers)}"
        for token in [token for token, owner in account.tokens.items() if owner == device]:
            del account.tokens[token]
        token = f"syt_{next(self._numbers)}_of_the_double"
        account.tokens[token] = device
        return {"user_id": account.id, "access_token": token, "device_id": device, "home_server": SERVER}

    @route("POST", "/_matrix/client/v3/logout")
    def logout(self, call: Call) -> Any:
        del self.user(call).tokens[call.headers["authorization"].removeprefix("Bearer ")]
        return {}

    @route("GET", "/_matrix/client/v3/account/whoami")
    def whoami(self, call: Call) -> Any:
        return {"user_id": self.user(call).id, "device_id": self.device(call), "is_guest": False}

    @route("GET", "/_matrix/client/v3/profile/{user}")
    def profile(self, call: Call, user: str) -> Any:
        if user not in self.accounts:
            return refusal(404, "M_NOT_FOUND", "User not found")
        return {"displayname": self.accounts[user].name}

    @route("GET", "/_matrix/client/v3/profile/{user}/displayname")
    def shown_name(self, call: Call, user: str) -> Any:
        return self.profile(call, user)

    @route("PUT", "/_matrix/client/v3/profile/{user}/displayname")
    def set_name(self, call: Call, user: str) -> Any:
        account = self.own(call, user)
        account.name = fields(call, "displayname")["displayname"]
        for room in self.rooms.values():
            if room.membership(user) == "join":
                self.member(room, user, user, "join")
        return {}

    def own(self, call: Call, user: str) -> Account:
        """Return the account of the token, which must be that of `user`."""
        account = self.user(call)
        if account.id != user:
            raise refusal(403, "M_FORBIDDEN", "Cannot act for other users.")
        return account

    @route("GET", "/_matrix/client/v3/user/{user}/account_data/{kind}")
    def account_data(self, call: Call, user: str, kind: str) -> Any:
        return self.own(call, user).data.get(kind) or refusal(404, "M_NOT_FOUND", "Account data not found")

    @route("PUT", "/_matrix/client/v3/user/{user}/account_data/{kind}")
    def set_account_data(self, call: Call, user: str, kind: str) -> Any:
        account = self.own(call, user)
        if not isinstance(call.json, dict):
            return refusal(400, "M_BAD_JSON", "Content must be a JSON object.")
        self.position += 1
        account.data[kind], account.data_at = call.json, self.position
        self.notify()
        return {}

    @route("PUT", "/_matrix/client/v3/presence/{user}/status")
    def set_presence(self, call: Call, user: str) -> Any:
        account, given = self.own(call, user), fields(call, "presence", status_msg="")
        if given["presence"] not in ("online", "offline", "unavailable"):
            return refusal(400, "M_UNKNOWN", "Invalid presence state")
        self.show(account, {name: value for name, value in given.items() if value})
        return {}

    def show(self, account: Account, presence: dict[str, Any]) -> None:
        """Show a presence to the others."""
        if account.presence != presence:
            self.position += 1
            account.presence, account.presence_at = presence, self.position
            self.notify()

    @route("GET", "/_matrix/client/v3/directory/room/{alias}")
    def look_up(self, call: Call, alias: str) -> Any:
        if not (alias.startswith("#") and ":" in alias):
            return refusal(400, "M_INVALID_PARAM", "Room alias invalid")
        if alias not in self.aliases:
            return refusal(404, "M_NOT_FOUND", f"Room alias {alias} not found")
        return {"room_id": self.aliases[alias], "servers": [SERVER]}

    @route("PUT", "/_matrix/client/v3/directory/room/{alias}")
    def set_alias(self, call: Call, alias: str) -> Any:
        self.user(call)
        if alias in self.aliases:
            return refusal(409, "M_UNKNOWN", f"Room alias {alias} already exists")
        self.aliases[alias] = fields(call, "room_id")["room_id"]
        return {}

    @route("DELETE", "/_matrix/client/v3/directory/room/{alias}")
    def remove_alias(self, call: Call, alias: str) -> Any:
        self.user(call)
        if self.aliases.pop(alias, None) is None:
            return refusal(404, "M_NOT_FOUND", f"Room alias {alias} not found")
        return {}

    @route("POST", "/_matrix/client/v3/createRoom")
    def create(self, call: Call) -> Any:
        me = self.user(call).id
        given = fields(
            call, preset="private_chat", name="", topic="", invite=[], is_direct=False, room_alias_name="",
            creation_content={}, initial_state=[], power_level_content_override={},
        )  # fmt: skip
        alias = f"#{given['room_alias_name']}:{SERVER}"
        if given["room_alias_name"] and alias in self.aliases:
            return refusal(400, "M_ROOM_IN_USE", "Room alias already taken")
        room = FakeRoom(f"!room{next(self._numbers)}")
        self.rooms[room.id] = room
        self.add(room, me, "m.room.create", {**given["creation_content"], "room_version": "12"}, "")
        self.member(room, me, me, "join")
        trusted = dict.fromkeys(given["invite"], 100) if given["preset"] == "trusted_private_chat" else {}
        levels = {**LEVELS, "users": trusted, **given["power_level_content_override"]}
        self.add(room, me, "m.room.power_levels", levels, "")
        if given["room_alias_name"]:
            self.aliases[alias] = room.id
            self.add(room, me, "m.room.canonical_alias", {"alias": alias}, "")
        rule = "public" if given["preset"] == "public_chat" else "invite"
        self.add(room, me, "m.room.join_rules", {"join_rule": rule}, "")
        self.add(room, me, "m.room.history_visibility", {"history_visibility": "shared"}, "")
        for state in given["initial_state"]:
            self.add(room, me, state["type"], state["content"], state.get("state_key", ""))
        for name in ("name", "topic"):
            if given[name]:
                self.add(room, me, f"m.room.{name}", {name: given[name]}, "")
        for user in given["invite"]:
            self.member(room, me, user, "invite", **({"is_direct": True} if given["is_direct"] else {}))
        return {"room_id": room.id}

    @route("POST", "/_matrix/client/v3/join/{name}")
    def join(self, call: Call, name: str) -> Any:
        me = self.user(call).id
        fields(call, reason="")
        if name[:1] not in ("#", "!"):
            return refusal(400, "M_UNKNOWN", f"{name} was not legal room ID or room alias")
        if name[0] == "#" and name not in self.aliases:
            return refusal(404, "M_NOT_FOUND", f"Room alias {name} not found")
        room = self.rooms.get(self.aliases.get(name, name))
        if room is None:
            text = "Can't join remote room because no servers that are in the room have been provided."
            return refusal(404, "M_UNKNOWN", text)
        membership = room.membership(me)
        if membership == "ban":
            return refusal(403, "M_FORBIDDEN", f"{me} is banned from this room")
        if membership not in ("join", "invite") and room.content("m.room.join_rules").get("join_rule") != "public":
            return refusal(403, "M_FORBIDDEN", "You are not invited to this room.")
        if membership != "join":
            self.member(room, me, me, "join")
        return {"room_id": room.id}

    @route("POST", "/_matrix/client/v3/rooms/{room}/leave")
    def leave(self, call: Call, room: str) -> Any:
        me, found = self.user(call).id, self.rooms.get(room)
        reason = fields(call, reason="")["reason"]
        if found is None or found.membership(me) not in ("join", "invite"):
            return refusal(404, "M_UNKNOWN", "Not a known room")
        self.member(found, me, me, "leave", **({"reason": reason} if reason else {}))
        return {}

    @route("POST", "/_matrix/client/v3/rooms/{room}/{what}")
    def change_member(self, call: Call, room: str, what: str) -> Any:
        membership = {"invite": "invite", "kick": "leave", "ban": "ban", "unban": "leave"}.get(what)
        if membership is None:
            return refusal(404, "M_UNRECOGNIZED", "Unrecognized request")
        me = self.user(call).id
        given = fields(call, "user_id", reason="")
        user, found = given["user_id"], self.joined(room, me)
        if what == "invite" and found.membership(user) == "join":
            return refusal(403, "M_FORBIDDEN", f"{user} is already in the room.")
        needed = int(found.content("m.room.power_levels").get("ban" if what == "unban" else what, 50))
        if found.level(me) < needed:
            return refusal(403, "M_FORBIDDEN", f"You don't have permission to {what} users")
        if what == "kick" and found.membership(user) not in ("join", "invite"):
            return refusal(403, "M_FORBIDDEN", "The target user is not in the room")
        self.member(found, me, user, membership, **({"reason": given["reason"]} if given["reason"] else {}))
        return {}

    @route("PUT", "/_matrix/client/v3/rooms/{room}/send/{kind}/{key}")
    def send(self, call: Call, room: str, kind: str, key: str) -> Any:
        account = self.user(call)
        done = account.transactions.get((self.device(call), f"{room} {kind} {key}"))
        if done is not None:
            return done
        found = self.joined(room, account.id)
        if self.limits.get(room):
            return limited(self.limits[room])
        if not isinstance(call.json, dict):
            return refusal(400, "M_BAD_JSON", "Content must be a JSON object.")
        if len(json.dumps(call.json, ensure_ascii=False).encode()) > 64_000:
            return refusal(413, "M_TOO_LARGE", "event too large")
        if kind == "m.room.message" and not isinstance(call.json.get("body"), str):
            return refusal(400, "M_BAD_JSON", "'body' not in content")
        relation = call.json.get("m.relates_to", {})
        if kind == "m.reaction" and self.is_repeated(found, account.id, relation):
            return refusal(400, "M_DUPLICATE_ANNOTATION", "Can't send same reaction twice")
        needed = found.content("m.room.power_levels").get("events", {}).get(kind, LEVELS["events_default"])
        self.may(found, account.id, int(needed), "post that to the room")
        return self.once(call, account, f"{room} {kind} {key}", self.add(found, account.id, kind, call.json))

    def once(self, call: Call, account: Account, key: str, event: str) -> Any:
        """Note the result of a transaction."""
        done = account.transactions[self.device(call), key] = {"event_id": event}
        return done

    def is_repeated(self, room: FakeRoom, user: str, relation: Mapping[str, Any]) -> bool:
        """Return whether a person has reacted in the same way."""
        own = (event for _, event in room.events if event["sender"] == user and event["type"] == "m.reaction")
        return any(event["content"].get("m.relates_to") == relation for event in own)

    @route("PUT", "/_matrix/client/v3/rooms/{room}/redact/{event}/{key}")
    def redact(self, call: Call, room: str, event: str, key: str) -> Any:
        account = self.user(call)
        done = account.transactions.get((self.device(call), f"{room} {event} {key}"))
        if done is not None:
            return done
        found, reason = self.joined(room, account.id), fields(call, reason="")["reason"]
        target = next((one for _, one in found.events if one["event_id"] == event), None)
        if target is None:
            return refusal(404, "M_NOT_FOUND", "Could not find event")
        if target["sender"] != account.id:
            self.may(found, account.id, 50, "redact events")
        target["content"] = {}
        content = {"redacts": event, **({"reason": reason} if reason else {})}
        return self.once(
            call, account, f"{room} {event} {key}", self.add(found, account.id, "m.room.redaction", content)
        )

    @route("GET", "/_matrix/client/v3/rooms/{room}/event/{event}")
    def event(self, call: Call, room: str, event: str) -> Any:
        found = self.joined(room, self.user(call).id)
        for _, one in found.events:
            if one["event_id"] == event:
                return one
        return refusal(404, "M_NOT_FOUND", "Event not found.")

    @route("GET", "/_matrix/client/v3/rooms/{room}/joined_members")
    def joined_members(self, call: Call, room: str) -> Any:
        found = self.joined(room, self.user(call).id)
        members = {key: event["content"] for (kind, key), event in found.state.items() if kind == "m.room.member"}
        return {
            "joined": {
                user: {"display_name": content.get("displayname"), "avatar_url": None}
                for user, content in members.items()
                if content["membership"] == "join"
            }
        }

    @route("GET", "/_matrix/client/v3/rooms/{room}/state/{kind}/{key}")
    def state_of(self, call: Call, room: str, kind: str, key: str) -> Any:
        event = self.joined(room, self.user(call).id).state.get((kind, key))
        return event["content"] if event else refusal(404, "M_NOT_FOUND", "Event not found.")

    @route("GET", "/_matrix/client/v3/rooms/{room}/state/{kind}")
    def state(self, call: Call, room: str, kind: str) -> Any:
        found = self.joined(room, self.user(call).id)
        return found.content(kind) or refusal(404, "M_NOT_FOUND", "Event not found.")

    @route("PUT", "/_matrix/client/v3/rooms/{room}/state/{kind}")
    def set_state(self, call: Call, room: str, kind: str) -> Any:
        me = self.user(call).id
        found = self.joined(room, me)
        needed = found.content("m.room.power_levels").get("events", {}).get(kind, LEVELS["state_default"])
        self.may(found, me, int(needed), "post that to the room")
        return {"event_id": self.add(found, me, kind, call.json, "")}

    @route("GET", "/_matrix/client/v3/rooms/{room}/messages")
    def messages(self, call: Call, room: str) -> Any:
        found = self.joined(room, self.user(call).id)
        unknown = call.args.keys() - {"dir", "from", "to", "limit", "filter"}
        if unknown or call.args.get("dir") != "b":
            return refusal(400, "M_INVALID_PARAM", f"Unknown parameters {sorted(unknown)}")
        begin_at = call.args.get("from", f"s{self.position}")
        begin, end = number(begin_at), number(call.args.get("to", "s0"))
        events = [(at, event) for at, event in reversed(found.events) if end < at <= begin]
        limit = int(call.args.get("limit", "10"))
        page = events[:limit]
        more = {"end": f"s{page[-1][0] - 1}"} if page else {}
        return {"start": begin_at, "chunk": [event for _, event in page], **more}

    @route("GET", "/_matrix/client/v1/rooms/{room}/relations/{event}/{relation}/{kind}")
    def relations(self, call: Call, room: str, event: str, relation: str, kind: str) -> Any:
        wanted, found = {"rel_type": relation, "event_id": event}, self.joined(room, self.user(call).id)
        contents = ((one, one["content"].get("m.relates_to", {})) for _, one in found.events if one["type"] == kind)
        return {"chunk": [one for one, relates in contents if wanted.items() <= relates.items()][::-1]}

    @route("POST", "/_matrix/media/v3/upload")
    def upload(self, call: Call) -> Any:
        self.user(call)
        name = f"media{next(self._numbers)}"
        self.media[name] = call.headers.get("content-type", ""), call.body
        return {"content_uri": f"mxc://{SERVER}/{name}"}

    @route("GET", "/_matrix/client/v1/media/download/{server}/{name}")
    def download(self, call: Call, server: str, name: str) -> Any:
        self.user(call)
        if server != SERVER or name not in self.media:
            return refusal(404, "M_NOT_FOUND", "Not found")
        kind, content = self.media[name]
        return Answer(200, content, {"Content-Type": kind})

    # Sync

    @route("GET", "/_matrix/client/v3/sync")
    async def sync(self, call: Call) -> Any:
        account = self.user(call)
        known = {"filter", "timeout", "set_presence", "since", "full_state"}
        if unknown := call.args.keys() - known:
            return refusal(400, "M_INVALID_PARAM", f"Unknown parameters {sorted(unknown)}")
        asked = json.loads(call.args.get("filter", "{}"))
        checked_filter(asked)
        self.show(account, {**account.presence, "presence": call.args.get("set_presence", "online")})
        since = number(call.args["since"]) if "since" in call.args else None
        if since is None and account.first_sync and account.first_sync[0] == call.args.get("filter", ""):
            # Synapse keeps the answer to the first request for some minutes.
            return account.first_sync[1]
        waits = since is not None and call.args.get("full_state") != "true"
        until = self.reactor.seconds() + int(call.args.get("timeout", "0")) / 1000
        while True:
            answer = self.events_for(account, since, asked, call.args.get("full_state") == "true")
            left = until - self.reactor.seconds()
            if since is None:
                account.first_sync = call.args.get("filter", ""), answer
            if not waits or left <= 0 or answer.keys() - {"next_batch"}:
                return answer
            change: Deferred[None] = Deferred()
            self._waiting.append(change)
            timer = self.reactor.callLater(left, lambda one=change: self.timed_out(one))
            self._timers.add(timer)
            await change
            self._timers.discard(timer)
            if timer.active():
                timer.cancel()
            self.user(call)

    def timed_out(self, change: Deferred[None]) -> None:
        """Let one who waits answer without events."""
        if change in self._waiting:
            self._waiting.remove(change)
            change.callback(None)

    def events_for(self, account: Account, since: int | None, asked: Mapping[str, Any], full: bool) -> dict[str, Any]:
        """Return the response to a sync."""
        begin, me = since or 0, account.id
        rooms: dict[str, dict[str, Any]] = {"join": {}, "invite": {}, "leave": {}}
        for room in self.rooms.values():
            now, before = room.membership(me), room.membership(me, begin) if since is not None else ""
            last = room.events[-1][0]
            if now == "join" and (last > begin or full):
                rooms["join"][room.id] = self.room_for(room, me, begin, before == "join", asked, full or since is None)
            elif now == "invite" and (before != "invite" or full):
                kinds = (
                    "m.room.create",
                    "m.room.join_rules",
                    "m.room.name",
                    "m.room.canonical_alias",
                    "m.room.encryption",
                )
                stripped = [event for (kind, key), event in room.state.items() if kind in kinds or key == me]
                shown = ("type", "state_key", "content", "sender")
                events = [{name: event[name] for name in shown} for event in stripped]
                rooms["invite"][room.id] = {"invite_state": {"events": events}}
            elif now in ("leave", "ban") and before in ("join", "invite") and since is not None:
                timeline = [event for at, event in room.events if at > begin] if before == "join" else []
                own = [room.state["m.room.member", me]] if before == "invite" else []
                rooms["leave"][room.id] = {
                    "timeline": {"events": timeline + own, "limited": False},
                    "state": {"events": []},
                }
        answer: dict[str, Any] = {"next_batch": f"s{self.position}"}
        if found := {name: content for name, content in rooms.items() if content}:
            answer["rooms"] = found
        wanted = asked.get("account_data", {}).get("types")
        if account.data_at > begin:
            data = [{"type": kind, "content": content} for kind, content in account.data.items()]
            if events := [event for event in data if wanted is None or event["type"] in wanted]:
                answer["account_data"] = {"events": events}
        shared = [
            {"type": "m.presence", "sender": other.id, "content": other.presence}
            for other in self.accounts.values()
            if other.presence_at > begin and self.shares_room(me, other.id)
        ]
        if shared and asked.get("presence", {}).get("types") != []:
            answer["presence"] = {"events": shared}
        return answer

    def shares_room(self, one: str, other: str) -> bool:
        """Return whether two people are in a room."""
        return any(room.membership(one) == room.membership(other) == "join" for room in self.rooms.values())

    def room_for(
        self, room: FakeRoom, me: str, begin: int, was_in: bool, asked: Mapping[str, Any], full: bool
    ) -> dict[str, Any]:
        """Return what a sync says of a room that the person is in."""
        of_room = asked.get("room", {})
        limit = of_room.get("timeline", {}).get("limit", 10)
        new = [(at, event) for at, event in room.events if at > begin or not was_in]
        timeline = new[-limit:]
        first = timeline[0][0] if timeline else self.position + 1
        state = room.state_at(first - 1)
        if not full and was_in:
            # What has changed in the gap.
            state = {
                key: event for at, event in new[:-limit] if (key := (event["type"], event.get("state_key"))) in state
            }
        senders = {event["sender"] for _, event in timeline} | {me}
        if of_room.get("state", {}).get("lazy_load_members"):
            for sender in senders:
                if (member := room.state_at(first - 1).get(("m.room.member", sender))) is not None:
                    state["m.room.member", sender] = member
            if full or not was_in:
                state = {key: event for key, event in state.items() if key[0] != "m.room.member" or key[1] in senders}
        kinds = of_room.get("state", {}).get("types")
        counts = {"join": 0, "invite": 0}
        for (kind, _), event in room.state.items():
            if kind == "m.room.member" and event["content"]["membership"] in counts:
                counts[event["content"]["membership"]] += 1
        return {
            "state": {"events": [event for event in state.values() if kinds is None or event["type"] in kinds]},
            "timeline": {
                "events": [event for _, event in timeline],
                "limited": len(new) > len(timeline) or not was_in,
                "prev_batch": f"s{first - 1}",
            },
            "summary": {"m.joined_member_count": counts["join"], "m.invited_member_count": counts["invite"]},
            "account_data": {"events": []},
            "ephemeral": {"events": []},
        }


def started(test: TestCase, reactor: Any) -> FakeHomeserver:
    """Return a homeserver for a test. It is stopped in the end, and must have understood everything."""
    server = FakeHomeserver(reactor, time.time)

    async def stop() -> None:
        await server.stop()
        test.assertEqual([failure.getTraceback() for failure in server.unexpected], [])

    server.start()
    test.addCleanup(lambda: Deferred.fromCoroutine(stop()))
    return server


def fields(call: Call, *required: str, **optional: Any) -> dict[str, Any]:
    """Return the fields of a request; refuse unknown ones, missing ones and those of another type."""
    given = call.json if call.body else {}
    if not isinstance(given, dict):
        raise refusal(400, "M_BAD_JSON", "Content must be a JSON object.")
    if unknown := given.keys() - {*required, *optional}:
        raise refusal(400, "M_BAD_JSON", f"Unknown fields {sorted(unknown)}")
    for name in required:
        if name not in given:
            raise refusal(400, "M_MISSING_PARAM", f"Missing params: ['{name}']")
    for name, default in optional.items():
        if name in given and not isinstance(given[name], type(default)):
            raise refusal(400, "M_BAD_JSON", f"{name} must be a {type(default).__name__}")
    return {**optional, **given}


def number(token: str) -> int:
    """Return the number of a position."""
    if not (token.startswith("s") and token[1:].isdecimal()):
        raise refusal(400, "M_UNKNOWN", "Invalid stream token")
    return int(token[1:])


def checked_filter(asked: Mapping[str, Any]) -> None:
    """Refuse a filter with unknown fields."""
    of_events = {"types", "not_types", "limit", "lazy_load_members", "include_redundant_members"}
    known = {"account_data", "presence", "room"}
    unknown = asked.keys() - known
    parts = [*(asked[name] for name in ("account_data", "presence") if name in asked), *asked.get("room", {}).values()]
    unknown |= {name for part in parts for name in part.keys() - of_events}
    if unknown:
        raise refusal(400, "M_BAD_JSON", f"Unknown fields in the filter: {sorted(unknown)}")
