"""The double of Slack: the Web API, whose arguments are checked against Slack's own types, Socket Mode, and uploads."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from urllib.parse import parse_qsl

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.web.resource import Resource
from twisted.web.websocket import WebSocketResource

from errklein.networks.slack._client import SCOPES
from tests.networks.double import Answer, Call, Double
from tests.networks.slack.schemas import SCHEMA, from_query, problem

BOT, BOT_ID, ALICE, BOB = "U0ERRKLEIN", "B0ERRKLEIN", "U0ALICE00", "U0BOB0000"
OPS, DEV = "C0OPS0000", "C0DEV0000"
TOKEN, APP_TOKEN, CONFIG_TOKEN, SECRET = "xoxb-of-the-double", "xapp-1-A0APP-1-x", "xoxe.xoxp-1-x", "5161CA7"
ALL_SCOPES = tuple(" ".join(SCOPES.values()).split())

IN_QUERY = frozenset(
    {
        *("bots.info", "conversations.info", "conversations.list", "conversations.members", "users.conversations"),
        *("files.getUploadURLExternal", "users.info", "users.list"),
    }
)
"""Methods for which Slack doesn't read JSON."""

NEEDED = {
    "chat.postMessage": "chat:write",
    "conversations.join": "channels:join",
    "conversations.list": "channels:read",
    "conversations.open": "im:write",
    "files.getUploadURLExternal": "files:write",
    "reactions.add": "reactions:write",
    "users.info": "users:read",
}
"""The scopes of methods, as far as tests take them away."""

_TS = re.compile(r"\d{10}\.\d{6}")


class Refused(Exception):
    """An answer with `ok: false`."""

    def __init__(self, error: str, **fields: Any) -> None:
        super().__init__(error)
        self.answer = {"ok": False, "error": error, **fields}


@dataclass
class Channel:
    """A conversation. `messages` are in order, and don't have those that were deleted."""

    id: str
    name: str
    members: list[str] = field(default_factory=list)
    messages: list[dict[str, Any]] = field(default_factory=list)
    topic: str = ""
    is_private: bool = False
    is_archived: bool = False

    def shown(self) -> dict[str, Any]:
        """Return the channel as Slack describes it."""
        if self.id[0] == "D":
            return {"id": self.id, "is_im": True, "user": self.members[0]}
        topic = {"value": self.topic, "creator": "", "last_set": 0}
        return {"id": self.id, "name": self.name, "is_channel": True, "is_archived": self.is_archived, "topic": topic}


class Link:
    """One WebSocket of Socket Mode, as its server."""

    def __init__(self, server: FakeSlack) -> None:
        self.server, self.transport, self.is_deaf = server, None, False
        self.received: list[Any] = []

    def send(self, message: Mapping[str, Any]) -> None:
        """Send a message."""
        if not self.is_deaf:
            self.transport.sendTextMessage(json.dumps(message))

    def close(self) -> None:
        """Close it."""
        self.transport.loseConnection()

    def negotiationStarted(self, transport: Any) -> None:
        """Keep the transport."""
        self.transport = transport

    def negotiationFinished(self) -> None:
        """Begin as Slack does."""
        self.server.opened(self)

    def pongReceived(self, payload: bytes) -> None:
        """Do nothing."""

    def textMessageReceived(self, message: str) -> None:
        """Note an acknowledgement."""
        self.server.acknowledged(self, json.loads(message))

    def bytesMessageReceived(self, data: bytes) -> None:
        """Note what a client must not send."""
        self.server.complaints.append("bytes on the socket")

    def connectionLost(self, reason: object) -> None:
        """Forget the socket."""
        self.server.closed(self)


class Links:
    """Makes the links for WebSockets."""

    def __init__(self, server: FakeSlack) -> None:
        self.server = server

    def buildProtocol(self, request: Any) -> Link:
        """Return one for a ticket of `apps.connections.open`, which is used up."""
        ticket = request.args.get(b"ticket", [b""])[0].decode()
        if ticket not in self.server.tickets:
            self.server.complaints.append(f"unknown ticket {ticket!r}")
        self.server.tickets.discard(ticket)
        return Link(self.server)


class FakeSlack(Double):
    """A workspace with alice, bob and the bot, and the public channels #ops and #dev.

    :param now: Returns the Unix time of messages.
    :ivar complaints: What clients have done that Slack doesn't allow.
    """

    isLeaf = False

    def __init__(self, reactor: Any, now: Callable[[], float]) -> None:
        super().__init__(reactor)
        self.now = now
        self.scopes = set(ALL_SCOPES)
        self.tokens = {TOKEN: "token", APP_TOKEN: "app_token", CONFIG_TOKEN: "config_token"}
        self.users = {
            id: {"id": id, "name": name, "real_name": name.title(), "deleted": False, "is_bot": id == BOT}
            | {"profile": {"display_name": name, "real_name": name.title(), "email": f"{name}@example.org"}}
            for id, name in ((ALICE, "alice"), (BOB, "bob"), (BOT, "errklein"))
        }
        self.channels = {id: Channel(id, name, [ALICE, BOB]) for id, name in ((OPS, "ops"), (DEV, "dev"))}
        self.files: dict[str, tuple[str, bytes]] = {}
        self.reactions: list[tuple[str, str, str]] = []
        self.ephemeral: list[tuple[str, str]] = []
        """The people and texts of ephemeral messages."""
        self.manifest: dict[str, Any] = {"display_information": {"name": "errklein"}, "features": {}}
        self.limits: dict[str, int] = {}
        """Seconds for which messages to channels are refused."""
        self.complaints: list[str] = []
        self.tickets: set[str] = set()
        self.links: list[Link] = []
        self.unacknowledged: dict[str, dict[str, Any]] = {}
        self.sent: list[dict[str, Any]] = []
        """All envelopes."""
        self.presses: list[str] = []
        self.http: Callable[[Mapping[str, Any]], object] | None = None
        """Gets events in the place of sockets."""
        self.link_delay = 0.0
        self._numbers = count(1)
        self.putChild(b"link", WebSocketResource(Links(self)))

    def getChild(self, path: bytes, request: Any) -> Resource:
        """Return the double for all other paths."""
        request.postpath.clear()
        return self

    # Socket Mode

    def opened(self, link: Link) -> None:
        """Greet a client."""
        self.links.append(link)
        link.send({"type": "hello", "num_connections": len(self.links), "connection_info": {"app_id": "A0APP"}})

    def closed(self, link: Link) -> None:
        """Forget a socket."""
        if link in self.links:
            self.links.remove(link)

    def acknowledged(self, link: Link, message: Any) -> None:
        """Note that a client has got an envelope."""
        if message.get("envelope_id") not in self.unacknowledged:
            self.complaints.append(f"acknowledged what wasn't sent: {message}")
        self.unacknowledged.pop(message.get("envelope_id"), None)
        link.received.append(message)

    def deliver(self, kind: str, payload: Mapping[str, Any], times: int = 1) -> str:
        """Send an envelope on the newest socket; `times` for one that Slack sends again."""
        id = f"envelope-{next(self._numbers)}"
        envelope = {"type": kind, "envelope_id": id, "payload": payload, "accepts_response_payload": False}
        self.unacknowledged[id] = envelope
        self.sent.append(envelope)
        if self.http is not None:
            self.http(payload)
        for number in range(times if self.links else 0):
            self.unacknowledged[id] = envelope
            self.links[-1].send({**envelope, "retry_attempt": number, "retry_reason": ""})
        return id

    def event(self, event: Mapping[str, Any], times: int = 1) -> str:
        """Deliver an event."""
        outer = {
            "type": "event_callback",
            "team_id": "T0TEAM",
            "api_app_id": "A0APP",
            "event_id": f"Ev{next(self._numbers)}",
        }
        return self.deliver("events_api", {**outer, "event": event, "event_time": int(self.now())}, times)

    # People

    def direct(self, user: str = ALICE) -> Channel:
        """Return the private conversation of a person with the bot."""
        id = f"D{user[1:]}"
        return self.channels.setdefault(id, Channel(id, "", [user, BOT]))

    def say(
        self, text: str, user: str = ALICE, channel: str = OPS, thread: str = "", times: int = 1, **more: Any
    ) -> str:
        """Let a person say something, and return its time stamp."""
        message = {"type": "message", "user": user, "text": text, "ts": self.stamp(), **more}
        message |= {"client_msg_id": f"msg-{message['ts']}", **({"thread_ts": thread} if thread else {})}
        self.channels[channel].messages.append(message)
        self.event(self._placed(message, channel), times)
        return str(message["ts"])

    def edit(self, ts: str, text: str, channel: str = OPS) -> None:
        """Let the author edit a message."""
        message = self.message(channel, ts)
        before = dict(message)
        message |= {"text": text, "edited": {"user": message["user"], "ts": self.stamp()}}
        self._changed(channel, message, before)

    def delete(self, ts: str, channel: str = OPS) -> None:
        """Let the author delete a message."""
        message = self.message(channel, ts)
        self.channels[channel].messages.remove(message)
        event = {"type": "message", "subtype": "message_deleted", "deleted_ts": ts, "previous_message": message}
        self.event(self._placed({**event, "ts": self.stamp()}, channel))

    def react(self, ts: str, name: str, user: str = ALICE, channel: str = OPS, added: bool = True) -> None:
        """Let a person react to a message."""
        item = {"type": "message", "channel": channel, "ts": ts}
        owner = self.message(channel, ts).get("user")
        kind = "reaction_added" if added else "reaction_removed"
        self.event(
            {"type": kind, "user": user, "reaction": name, "item": item, "item_user": owner, "event_ts": self.stamp()}
        )

    def attach(self, name: str, content: bytes, channel: str = OPS) -> str:
        """Let alice send a file."""
        id = f"F{next(self._numbers)}"
        self.files[id] = name, content
        url = f"{self.base}/files-pri/{id}/{name.replace(' ', '_')}"
        file = {
            "id": id,
            "name": name,
            "mimetype": "application/octet-stream",
            "size": len(content),
            "url_private": url,
        }
        return self.say("", channel=channel, subtype="file_share", files=[file])

    def command(self, command: str, text: str = "", user: str = ALICE, channel: str = OPS) -> None:
        """Let a person give a slash command."""
        url = f"{self.base}/hooks/{next(self._numbers)}"
        given = {"command": command, "text": text, "user_id": user, "channel_id": channel, "response_url": url}
        self.deliver("slash_commands", {**given, "user_name": self.users[user]["name"], "trigger_id": self.stamp()})

    def press(self, ts: str, number: int, user: str = ALICE, channel: str = OPS) -> None:
        """Let a person press a button of a message."""
        message, pressed = self.message(channel, ts), {"action_id": f"choice-{number}", "value": str(number)}
        action = {"type": "button", "block_id": "b1", **pressed, "action_ts": self.stamp()}
        container = {"type": "message", "message_ts": ts, "channel_id": channel}
        url = f"{self.base}/hooks/{next(self._numbers)}"
        payload = {"type": "block_actions", "user": {"id": user}, "channel": {"id": channel}, "container": container}
        payload |= {"trigger_id": self.stamp(), "team": {"id": "T0TEAM"}}
        self.deliver("interactive", {**payload, "message": message, "actions": [action], "response_url": url})

    def buttons(self, message: Mapping[str, Any]) -> list[str]:
        """Return the labels of the buttons of a message, which people see in the place of its text."""
        blocks = message.get("blocks", ())
        return [one["text"]["text"] for block in blocks if block["type"] == "actions" for one in block["elements"]]

    def message(self, channel: str, ts: str) -> dict[str, Any]:
        """Return a message."""
        for message in self.channels[channel].messages:
            if message["ts"] == ts:
                return message
        raise Refused("message_not_found")

    def posts(self, channel: str = OPS) -> list[dict[str, Any]]:
        """Return the messages of the bot."""
        return [one for one in self.channels[channel].messages if one["user"] == BOT]

    @property
    def base(self) -> str:
        """The URL without a path."""
        return f"http://127.0.0.1:{self.port}" if self.port else "https://slack.example.org"

    def stamp(self) -> str:
        """Return a time stamp, which no other message has."""
        return f"{int(self.now()) % 10**10:010}.{next(self._numbers):06}"

    def _placed(self, message: Mapping[str, Any], channel: str) -> dict[str, Any]:
        kind = "im" if channel[0] == "D" else "channel"
        return {**message, "channel": channel, "channel_type": kind, "event_ts": message["ts"]}

    def _changed(self, channel: str, message: Mapping[str, Any], before: Mapping[str, Any]) -> None:
        event = {"type": "message", "subtype": "message_changed", "message": dict(message), "previous_message": before}
        self.event(self._placed({**event, "ts": self.stamp()}, channel))

    # The Web API

    def answer(self, call: Call) -> Any:
        """Carry out a request."""
        if call.path.startswith("/hooks/"):
            self.ephemeral.append((call.json["response_type"], html.unescape(call.json["text"])))
            return Answer(200, b"ok")
        if call.path.startswith("/upload/"):
            name, _ = self.files[call.path.rpartition("/")[2]]
            self.files[call.path.rpartition("/")[2]] = name, call.body
            return Answer(200, b"OK - 1")
        if call.path.startswith("/files-pri/"):
            is_ours = call.headers.get("authorization") == f"Bearer {TOKEN}"
            content = self.files[call.path.split("/")[2]][1]
            return Answer(200, content) if is_ours else Answer(302, b"", {"Location": "https://team.example.org/login"})
        headers = {"X-OAuth-Scopes": ",".join(sorted(self.scopes))}
        try:
            return Answer(200, {"ok": True, **self._called(call)}, headers)
        except Refused as refused:
            return Answer(200, refused.answer, headers)

    def _called(self, call: Call) -> Mapping[str, Any]:
        method, schema = call.path.removeprefix("/api/"), SCHEMA["methods"].get(call.path.removeprefix("/api/"))
        if schema is None:
            raise Refused("unknown_method")
        form = dict(call.args)
        is_json = call.headers.get("content-type", "").startswith("application/json")
        if not is_json:
            form |= dict(parse_qsl(call.body.decode()))
        given = from_query(form, schema)
        token = form.get("token") or call.headers.get("authorization", "").removeprefix("Bearer ")
        if is_json and method not in IN_QUERY:
            given |= call.json
        if "manifest" in given and isinstance(given["manifest"], str):
            given["manifest"] = json.loads(given["manifest"])
        if wrong := problem(given, schema, method):
            self.complaints.append(wrong)
            raise Refused("invalid_arguments", response_metadata={"messages": [wrong]})
        kind = "app_token" if method == "apps.connections.open" else "config_token" if "manifest" in method else "token"
        if self.tokens.get(token) != kind:
            raise Refused("not_allowed_token_type" if token in self.tokens else "invalid_auth")
        if (scope := NEEDED.get(method)) and scope not in self.scopes:
            raise Refused("missing_scope", needed=scope, provided=",".join(sorted(self.scopes)))
        found: Mapping[str, Any] = getattr(
            self, "_" + re.sub(r"[.A-Z]", lambda one: f"_{one[0].strip('.').lower()}", method)
        )(given)
        return found

    def _channel(self, given: Mapping[str, Any], is_member: bool = False) -> Channel:
        found = self.channels.get(given["channel"])
        if found is None or (found.is_private and BOT not in found.members):
            raise Refused("channel_not_found")
        if is_member and BOT not in found.members:
            raise Refused("not_in_channel")
        if is_member and found.is_archived:
            raise Refused("is_archived")
        return found

    def _auth_test(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        me = {"user": "errklein", "user_id": BOT, "bot_id": BOT_ID, "team": "Example", "team_id": "T0TEAM"}
        return {**me, "url": "https://example.slack.com/"}

    def _apps_connections_open(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        ticket = f"ticket-{next(self._numbers)}"
        self.tickets.add(ticket)
        return {"url": f"{self.base.replace('http', 'ws', 1)}/link?ticket={ticket}&app_id=A0APP"}

    def _bots_info(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"bot": {"id": given.get("bot"), "app_id": "A0APP", "name": "errklein", "user_id": BOT}}

    def _users_info(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        if given["user"] not in self.users:
            raise Refused("user_not_found")
        return {"user": self.users[given["user"]]}

    def _page(self, given: Mapping[str, Any], key: str, items: list[Any]) -> Mapping[str, Any]:
        """Return one item a page, which clients must turn."""
        at = int(given.get("cursor") or 0)
        following = str(at + 1) if at + 1 < len(items) else ""
        return {key: items[at : at + 1], "response_metadata": {"next_cursor": following}}

    def _users_list(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        return self._page(given, "members", list(self.users.values()))

    def _conversations_list(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        visible = [one for one in self.channels.values() if one.id[0] == "C" and not one.is_private]
        return self._page(given, "channels", [one.shown() for one in visible])

    def _users_conversations(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        own = [one.shown() for one in self.channels.values() if BOT in one.members and one.id[0] == "C"]
        return self._page(given, "channels", own)

    def _conversations_info(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"channel": self._channel(given).shown()}

    def _conversations_members(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        return self._page(given, "members", self._channel(given).members)

    def _conversations_open(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        if given["users"] not in self.users:
            raise Refused("user_not_found")
        return {"channel": {"id": self.direct(given["users"]).id}}

    def _conversations_join(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        channel = self._channel(given)
        if channel.is_archived:
            raise Refused("is_archived")
        if BOT not in channel.members:
            channel.members.append(BOT)
            self.event({"type": "member_joined_channel", "user": BOT, "channel": channel.id, "channel_type": "C"})
        return {"channel": channel.shown()}

    def _conversations_leave(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        self._channel(given, True).members.remove(BOT)
        return {}

    def _conversations_create(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        if any(one.name == given["name"] for one in self.channels.values()):
            raise Refused("name_taken")
        id = f"C0NEW{next(self._numbers)}"
        self.channels[id] = Channel(id, given["name"], [BOT])
        return {"channel": self.channels[id].shown()}

    def _conversations_archive(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        self._channel(given, True).is_archived = True
        return {}

    def _conversations_set_topic(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        channel = self._channel(given, True)
        channel.topic = given["topic"]
        event = {
            "type": "message",
            "subtype": "channel_topic",
            "user": BOT,
            "topic": channel.topic,
            "text": "",
            "ts": self.stamp(),
        }
        self.event(self._placed(event, channel.id))
        return {"channel": channel.shown()}

    def _conversations_invite(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        channel = self._channel(given, True)
        channel.members += given["users"].split(",")
        return {"channel": channel.shown()}

    def _chat_post_message(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        channel = self._channel(given, True)
        if seconds := self.limits.get(channel.id):
            raise Answer(429, {"ok": False, "error": "ratelimited"}, {"Retry-After": str(seconds)})
        self._check_text(given)
        if given.get("thread_ts"):
            self.message(channel.id, given["thread_ts"])
        message = {"type": "message", "user": BOT, "bot_id": BOT_ID, "ts": self.stamp(), "text": "", **given}
        del message["channel"]
        channel.messages.append(message)
        self.event(self._placed(message, channel.id))
        return {"channel": channel.id, "ts": message["ts"], "message": message}

    def _check_text(self, given: Mapping[str, Any]) -> None:
        text = given.get("text", "")
        if not (text.strip() or given.get("blocks") or given.get("attachments")):
            raise Refused("no_text")
        if len(text) > 4000:
            self.complaints.append("a text of more than 4,000 characters")
        bare = re.sub(r"<(?:[@#!][\w^|]+|(?:https?|mailto):[^<>]+)>|&(?:amp|lt|gt);", "", text)
        if re.search("[<>&]", bare):
            self.complaints.append(f"a text that isn't escaped: {text!r}")
        for block in given.get("blocks") or ():
            if len(block.get("text", {}).get("text", "")) > 3000:
                raise Refused("invalid_blocks")
            if "broken" in json.dumps(block.get("image_url", "")):
                raise Refused("invalid_blocks")

    def _chat_post_ephemeral(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        self._channel(given, True)
        self.ephemeral.append((given["user"], html.unescape(given["text"])))
        return {"message_ts": self.stamp()}

    def _chat_update(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        message = self.message(self._channel(given).id, given["ts"])
        if message["user"] != BOT:
            raise Refused("cant_update_message")
        self._check_text(given)
        before = dict(message)
        message |= {name: given[name] for name in ("blocks", "attachments") if name in given}
        message |= {
            "text": given["text"],
            "edited": {"user": BOT},
        }
        self._changed(given["channel"], message, before)
        return {"channel": given["channel"], "ts": given["ts"], "text": given["text"]}

    def _chat_delete(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        message = self.message(self._channel(given).id, given["ts"])
        if message["user"] != BOT:
            raise Refused("cant_delete_message")
        self.delete(given["ts"], given["channel"])
        return {"channel": given["channel"], "ts": given["ts"]}

    def _reactions_add(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        self.message(self._channel(given).id, given["timestamp"])
        found = given["channel"], given["timestamp"], given["name"]
        if not re.fullmatch(r"[a-z0-9_+'-]+(::skin-tone-[2-6])?", given["name"]):
            raise Refused("invalid_name")
        if found in self.reactions:
            raise Refused("already_reacted")
        self.reactions.append(found)
        return {}

    def _reactions_remove(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        found = given["channel"], given["timestamp"], given["name"]
        if found not in self.reactions:
            raise Refused("no_reaction")
        self.reactions.remove(found)
        return {}

    def _files_get_upload_u_r_l_external(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        id = f"F{next(self._numbers)}"
        self.files[id] = given["filename"], b""
        return {"upload_url": f"{self.base}/upload/v1/{id}", "file_id": id}

    def _files_complete_upload_external(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        channel = self._channel({"channel": given["channel_id"]}, True)
        [file] = given["files"]
        name, content = self.files[file["id"]]
        thread = {"thread_ts": given["thread_ts"]} if "thread_ts" in given else {}
        shown = {"id": file["id"], "name": name, "size": len(content)}
        message = {
            "type": "message",
            "subtype": "file_share",
            "user": BOT,
            "bot_id": BOT_ID,
            "text": "",
            "ts": self.stamp(),
        }
        channel.messages.append({**message, "files": [shown], **thread})
        return {"files": [{"id": file["id"], "title": file.get("title", name)}]}

    def _apps_manifest_export(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"manifest": self.manifest}

    def _apps_manifest_update(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        self.manifest = given["manifest"]
        return {"app_id": given["app_id"], "permissions_updated": False}

    def drop_links(self) -> None:
        """Close all sockets."""
        for link in list(self.links):
            link.close()

    def stop(self) -> Deferred[None]:
        """Close all connections as a server that is killed does."""
        for link in list(self.links):
            link.transport.transport.abortConnection()
        return maybeDeferred(super().stop)
