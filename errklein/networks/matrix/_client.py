"""The client-server API of a homeserver: the login, requests, and which of them must wait; the contents of events that the bot
sends, and the messages, edits, deletions and reactions that it receives. Whatever a server sends, no event ends the sync."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from errklein.chat import AWAY, OFFLINE, ONLINE, Attachment, Identifier, Message, Presence
from errklein.chat.events import REACTION_ADDED, REACTION_REMOVED, Reaction
from errklein.chat.handles import MessageRef
from errklein.config.networks import NetworkFinding
from errklein.networks._connection import Unusable
from errklein.networks.context import Latest, NetworkContext
from errklein.networks.directory import RoomOrder
from errklein.networks.json_client import File, RequestRefused, attachment, mapping, one_line, text_of
from errklein.networks.matrix import MatrixSettings
from errklein.networks.matrix.identifiers import MatrixOccupant, MatrixPerson, is_user
from errklein.networks.outbox import NotConfirmed, RetryLater
from errklein.text import sanitize
from errklein.text.masking import masker

if TYPE_CHECKING:
    from errklein.networks.matrix._backend import MatrixBackend


class TokenRevoked(NotConfirmed):
    """The homeserver doesn't know the access token any more. The session ends, and the next one logs in again."""


def quoted(part: str) -> str:
    """Return a part of a path, such as the id of a room, as it is written in a URL."""
    return quote(part, safe="")


class MatrixClient:
    """Makes requests with the bot's access token. `user` is the bot's id, "" before the first login. Failures are those of `JSONClient`."""

    def __init__(self, context: NetworkContext, settings: MatrixSettings) -> None:
        self._state, self._settings, self._seconds = context.state, settings, context.reactor.seconds
        self._http = context.http(settings.homeserver, read_failure=self._read_failure)
        self._limited: dict[str, float] = {}
        self.user = self._token = self._revoked = ""

    async def log_in(self) -> None:
        """Use the access token of the configuration, or the stored one, or get one with the password. Raises Unusable:
        the homeserver refuses the token or the password."""
        settings = self._settings
        if settings.token:
            self._use(settings.token)
            try:
                self.user = text_of(mapping(await self.call("GET", "/account/whoami")).get("user_id"))
            except (TokenRevoked, RequestRefused) as error:
                raise Unusable(f"the homeserver refuses BOT_IDENTITY['token'] ({error})") from None
            return
        account = [settings.homeserver, settings.user]
        stored = mapping(await self._state.get("login"))
        is_own = stored.get("account") == account
        if not is_own or stored["token"] == self._revoked:
            # The same device again: others know it, and what was sent twice is recognised.
            stored = await self._new_token(stored["device"] if is_own else "")
            await self._state.set("login", {**stored, "account": account})
        self._use(stored["token"])
        self.user = stored["user"]

    def call(self, method: str, path: str, json: Any = None, version: str = "v3", **options: Any) -> Deferred[Any]:
        return self._http.call(method, f"/_matrix/client/{version}{path}", json, **options)

    async def send(self, room: str, type: str, content: Mapping[str, Any], key: str) -> str:
        """Send an event, and return its id. With the same key it is the same event."""
        path = f"/rooms/{quoted(room)}/send/{quoted(type)}/{quoted(key)}"
        return await self._made(self.call("PUT", path, content), "event_id", room)

    async def redact(self, room: str, event: str, key: str) -> str:
        path = f"/rooms/{quoted(room)}/redact/{quoted(event)}/{quoted(key)}"
        return await self._made(self.call("PUT", path, {}), "event_id", room)

    async def upload(self, name: str, type: str, content: bytes) -> str:
        file, path = File(content, name, type), "/_matrix/media/v3/upload"
        return await self._made(self._http.upload("POST", path, file, params={"filename": name}), "content_uri")

    def download(self, address: str, most: int) -> Deferred[bytes]:
        server, _, media = address.removeprefix("mxc://").partition("/")
        return self._http.fetch(f"/_matrix/client/v1/media/download/{quoted(server)}/{quoted(media)}", most)

    async def _made(self, request: Deferred[Any], name: str, room: str = "") -> str:
        try:
            return text_of(mapping(await request).get(name))
        except RetryLater as error:
            # Homeservers limit rooms or the bot, and don't say which.
            now = self._seconds()
            self._limited = {one: until for one, until in self._limited.items() if until > now and one != room}
            self._limited[room] = now + error.seconds
            error.scope = "network" if len(self._limited) > 1 else "recipient"
            raise

    async def _new_token(self, device: str) -> dict[str, str]:
        self._http.headers.pop("Authorization", None)
        user, password = {"type": "m.id.user", "user": self._settings.user}, self._settings.password
        login = {"type": "m.login.password", "identifier": user, "password": password}
        login |= {"initial_device_display_name": "errklein", **({"device_id": device} if device else {})}
        try:
            answer = await self.call("POST", "/login", login)
            return {"token": answer["access_token"], "user": answer["user_id"], "device": answer["device_id"]}
        except (TokenRevoked, RequestRefused) as error:
            raise Unusable(f"the homeserver refuses 'user' and 'password' of BOT_IDENTITY ({error})") from None
        except (KeyError, TypeError):
            raise NotConfirmed("the homeserver has answered to the login without a token") from None

    def _use(self, token: str) -> None:
        self._http.headers["Authorization"] = f"Bearer {token}"
        self._token = token
        masker.learn(self, "access token", [token])

    def _read_failure(self, status: int, headers: Mapping[str, str], body: Any) -> Exception | None:
        if status == 401:
            self._revoked = self._token
            return TokenRevoked(text_of(mapping(body).get("error"))[:300] or "the access token isn't valid")
        if 300 <= status < 500 and status != 429 and "errcode" not in mapping(body):
            # It isn't by the homeserver, but for example by a proxy while the homeserver is being restarted.
            return NotConfirmed(f"{self._http.host} has answered with status {status}, and not as a homeserver")
        return None


async def check(context: NetworkContext) -> list[NetworkFinding]:
    settings = MatrixSettings.read(context.config)
    client = MatrixClient(context, settings)
    await client.log_in()
    if settings.password:
        await client.call("POST", "/logout", {})
    return [NetworkFinding(f"the homeserver accepts the bot as {client.user}")]


Event = Mapping[str, Any]
KINDS = {"notice": "m.notice", "action": "m.emote"}  # the types of messages by the key of `extras` that stands for them
MOST_MENTIONED = 50  # the largest number of people whom a message notifies
_EVENT = re.compile(r"\$[^\s\x00-\x1f\x7f\ud800-\udfff]{1,254}")
_QUOTE = re.compile(r"(?:>[^\n]*(?:\n|$))+\n?")
_FILES = frozenset({"m.audio", "m.file", "m.image", "m.video"})
_STATES = {"online": ONLINE, "unavailable": AWAY, "offline": OFFLINE}
_EXTRAS = {kind: key for key, kind in KINDS.items()}


class _Known(NamedTuple):
    """What is to be known of a message or reaction, for later events that name it."""

    sender: str
    thread: str = ""
    target: str = ""  # the event that it is a reaction to; "" if it is a message
    emoji: str = ""


class Receiver:
    log = Logger(namespace="errklein.networks")

    def __init__(self, backend: MatrixBackend) -> None:
        self._backend, self._report = backend, backend.report
        self._client, self._rooms = backend.client, backend.membership
        self.order = RoomOrder(backend.context.reactor)
        self._known = Latest()  # for edits, deletions and reactions to them

    def receive(self, room: str, event: Event, delayed: bool) -> None:
        """Report an event of a room's timeline. `delayed` states that it is from before the bot was there. A message
        waits until the server has said whose the aliases of its room are, since access rules may name them."""
        asked = self._rooms.unconfirmed(room) if event.get("type") == "m.room.message" else None
        self.order.do(room, asked, lambda: self.handle(room, event, delayed))

    def presence(self, event: Event) -> None:
        sender, content = text_of(event.get("sender")), mapping(event.get("content"))
        status = _STATES.get(text_of(content.get("presence")))
        if is_user(sender) and status and sender != self._client.user:
            person = MatrixPerson(sender, self._backend.network)
            self._report("presence_changed", Presence(person, status, one_line(content.get("status_msg")) or None))

    def handle(self, room: str, event: Event, delayed: bool) -> None:
        sender, name = text_of(event.get("sender")), text_of(event.get("event_id"))
        if not (_EVENT.fullmatch(name) and is_user(sender)):
            return
        content, known, is_own = mapping(event.get("content")), known_of(event), sender == self._client.user
        if known is not None:
            self._known[name] = known
            if known.target:
                self._reaction(REACTION_ADDED, room, known, event)
            elif not is_own:
                self._message(room, event, content, self._ref(room, name, known.thread), delayed)
        elif event.get("type") == "m.room.message":
            target = text_of(relation_of(event).get("event_id"))
            if _EVENT.fullmatch(target) and not is_own:
                self._edited(room, target, event, delayed)
        elif event.get("type") == "m.room.redaction":
            # Since version 11 of rooms it is in the content.
            self._deleted(room, sender, text_of(content.get("redacts") or event.get("redacts")), event)

    def _message(self, room: str, event: Event, content: Event, ref: MessageRef, delayed: bool) -> None:
        if (message := self._made(room, event, content, ref, delayed)) is None:
            return
        self._report("message_received", message)
        mentioned = mapping(content.get("m.mentions")).get("user_ids")
        users = [one for one in mentioned if is_user(text_of(one))] if isinstance(mentioned, list) else []
        if users and not delayed:
            people = [self._person(room, one) for one in dict.fromkeys(users[:MOST_MENTIONED])]
            self._report("mention_received", message, people)

    def _made(self, room: str, event: Event, content: Event, ref: MessageRef, delayed: bool) -> Message | None:
        sender, kind = text_of(event["sender"]), text_of(content.get("msgtype"))
        is_file = kind in _FILES
        if not isinstance(content.get("body"), str) or kind not in {"m.text", *_EXTRAS, *_FILES}:
            return None
        body = sanitize(content["body"])
        if is_file and content.get("filename", content["body"]) == content["body"]:
            # Without a caption, it is the name of the file, which must run no command.
            body = ""
        elif body.startswith("> ") and mapping(relation_of(event).get("m.in_reply_to")):
            # Old clients quote what they reply to.
            body = _QUOTE.sub("", body, count=1)
        extras = {"event_id": ref.id, **({_EXTRAS[kind]: True} if kind in _EXTRAS else {})}
        frm: Identifier
        to: Identifier | None
        if person := self._rooms.direct_with(room):
            frm, to = self._person(room, sender), self._backend.bot_identifier
            self._rooms.last_direct[person] = room
        else:
            to = self._rooms.room(room)
            frm = MatrixOccupant(sender, to, self._rooms.name_in(room, sender))
        message = self._backend.build_message(body, frm=frm, to=to, extras=extras)
        message.ref, message.thread, message.sent_at, message.delayed = ref, ref.thread, time_of(event), delayed
        if is_file and text_of(content.get("url")).startswith("mxc://"):
            message.attachments = (self._attachment(content),)
        return message

    def _attachment(self, content: Event) -> Attachment:
        info, fetch = mapping(content.get("info")), partial(self._client.download, text_of(content.get("url")))
        name = one_line(content.get("filename")) or one_line(content.get("body"))
        return attachment(name, info.get("mimetype"), info.get("size"), fetch)

    def _edited(self, room: str, target: str, event: Event, delayed: bool) -> None:
        if (known := self._known.get(target)) is not None:
            self._report_edit(known, room, target, event, delayed)
            return
        asked = self._client.call("GET", f"/rooms/{quoted(room)}/event/{quoted(target)}")
        asked.addCallback(lambda original: self._report_edit(known_of(mapping(original)), room, target, event, delayed))
        text = "An edit of {target} is ignored: {reason}"
        asked.addErrback(lambda failure: self.log.info(text, target=target, reason=failure.getErrorMessage()))

    def _report_edit(self, known: _Known | None, room: str, target: str, event: Event, delayed: bool) -> None:
        new = mapping(mapping(event.get("content")).get("m.new_content"))
        # Servers pass on what anybody claims to be an edit.
        if known is None or known.sender != event["sender"] or known.target:
            return
        ref = self._ref(room, target, known.thread)
        if (message := self._made(room, event, new, ref, delayed)) is not None:
            message.edited = True
            self._report("message_edited", message)

    def _deleted(self, room: str, sender: str, target: str, event: Event) -> None:
        known = self._known.pop(target, _Known(""))
        if known.target:
            self._reaction(REACTION_REMOVED, room, known, event)
        elif sender != self._client.user and _EVENT.fullmatch(target):
            self._report("message_deleted", self._ref(room, target, known.thread), self._person(room, sender))

    def _reaction(self, action: str, room: str, known: _Known, event: Event) -> None:
        if known.sender == self._client.user or not known.emoji:
            return
        owner = self._known.get(known.target, _Known(""))
        who, to = self._person(room, known.sender), self._person(room, owner.sender) if owner.sender else None
        # Some clients add the sign that asks for a coloured picture.
        at, emoji = str(event.get("origin_server_ts", "")), known.emoji.removesuffix("\ufe0f")
        where = self._ref(room, known.target, owner.thread)._asdict()
        self._report("reaction_changed", Reaction(who, to, action, at, emoji, where))

    def _person(self, room: str, user: str) -> MatrixPerson:
        return MatrixPerson(user, self._backend.network, self._rooms.name_in(room, user))

    def _ref(self, room: str, id: str, thread: str) -> MessageRef:
        return MessageRef(self._backend.network, room, id, thread)


def time_of(event: Event) -> float:
    """Return the Unix time at which the sender's homeserver has got the event; 0.0 if it isn't stated."""
    at = event.get("origin_server_ts")
    return at / 1000 if isinstance(at, (int, float)) and 0 < at < 1e14 else 0.0


def relation_of(event: Event) -> Event:
    return mapping(mapping(event.get("content")).get("m.relates_to"))


def known_of(event: Event) -> _Known | None:
    """Return what is to be known of a message or reaction; None for other events, also for edits."""
    sender, relation = text_of(event.get("sender")), relation_of(event)
    kind, target = (event.get("type"), relation.get("rel_type")), text_of(relation.get("event_id"))
    if kind == ("m.reaction", "m.annotation") and _EVENT.fullmatch(target):
        return _Known(sender, target=target, emoji=one_line(relation.get("key")))
    if kind[0] != "m.room.message" or kind[1] == "m.replace":
        return None
    return _Known(sender, target if kind[1] == "m.thread" and _EVENT.fullmatch(target) else "")
