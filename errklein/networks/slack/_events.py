"""Events, slash commands and presses of buttons, by Socket Mode or as requests. Each is handled once, also after a restart. Socket Mode
is WebSockets on which Slack sends events. Slack renews them about once an hour, and the bot those that may be deaf."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from errklein.chat import REACTION_ADDED, REACTION_REMOVED, Attachment, Message, Reaction
from errklein.chat.handles import MessageRef
from errklein.chat.operations import Press
from errklein.networks._connection import Unusable
from errklein.networks.directory import RoomOrder
from errklein.networks.json_client import RequestRefused, at, attachment, mapping, mappings, one_line
from errklein.networks.outbox import NotConfirmed, RetryLater
from errklein.networks.slack._client import from_mrkdwn
from errklein.networks.slack.identifiers import is_room, is_user
from errklein.running import cancel_timers
from errklein.text.emoji import emoji_of

if TYPE_CHECKING:
    from errklein.networks._socket import Socket
    from errklein.networks.slack._backend import SlackBackend

Payload = Mapping[str, Any]
MOST_SEEN, _MOST_MENTIONED = 2_000, 50
EPHEMERAL_FOR = 1_740.0  # the seconds for which Slack takes replies to a slash command at its address, less a minute
_SPOKEN = ("", "bot_message", "file_share", "me_message", "thread_broadcast")
_OUT = ("channel_left", "group_left", "channel_archive", "group_archive")  # of the bot, beside member_left_channel
_CHANGES = ("message_changed", "message_deleted")
_TS, _MENTION, _NUMBER = re.compile(r"\d{1,12}\.\d{1,9}"), re.compile(r"<@([UW][A-Z0-9]+)>"), re.compile(r"\d{1,3}")


class SlackEvents:
    """Reports what Slack sends. `heard_at` is the time of the latest event, `has_echo` whether the bot's own messages come back."""

    def __init__(self, backend: SlackBackend) -> None:
        self._backend, self._rooms, self._reactor = backend, backend.membership, backend.context.reactor
        self.seen = backend.context.seen("events", MOST_SEEN)
        self._order = RoomOrder(self._reactor)
        self._fresh: list[tuple[Payload, Callable[[], object]]] = []
        self._storing: Deferred[None] = succeed(None)
        self.heard_at, self.has_echo = 0.0, False
        self._handlers: dict[str, Callable[[Payload], object]] = {
            **dict.fromkeys(("message", "app_mention"), self._message),
            "reaction_added": partial(self._reaction, REACTION_ADDED),
            "reaction_removed": partial(self._reaction, REACTION_REMOVED),
            **dict.fromkeys(("member_joined_channel", "member_left_channel", *_OUT), self._membership),
            **dict.fromkeys(("channel_rename", "group_rename"), self._rooms.renamed),
            "slash_commands": self._command,
            "interactive": self._press,
        }

    def receive(self, kind: str, payload: Payload, acknowledge: Callable[[], object]) -> None:
        """Take what a socket or request has brought. Slack repeats an event until it is acknowledged: when it is stored as seen."""
        self.heard_at = self._reactor.seconds()
        if not self._is_ours(payload):
            acknowledge()
        elif kind == "events_api":
            self._fresh.append((payload, acknowledge))
            if self._storing.called:
                self._storing = Deferred.fromCoroutine(self._store())
        else:
            acknowledge()
            if not self.seen.is_new(at(payload, "trigger_id")):
                return
            user = at(payload, "user_id") or at(payload, "user", "id")
            channel = at(payload, "channel_id") or at(payload, "channel", "id")
            self._sort(kind, {**payload, "user": user, "channel": channel})

    def _is_ours(self, payload: Payload) -> bool:
        """Return False for another workspace that has installed the app, whose administrators are others."""
        known = [*mappings(payload.get("authorizations")), payload, {"team_id": at(payload, "team", "id")}]
        team = next(filter(None, (at(one, "team_id") for one in known)), "")
        return self._backend.team in ("", team) or not team

    async def request(self, request: Any) -> str:
        body, acknowledged = request.get_data(), Deferred[None]()
        form = dict(parse_qsl(body.decode("utf-8", "replace"))) if body[:1] != b"{" else {}
        kind = "slash_commands" if "command" in form else "interactive" if form else "events_api"
        payload = form if "command" in form else json.loads(form.get("payload", "{}") if form else body)
        self.receive(kind, mapping(payload), lambda: acknowledged.callback(None))
        await acknowledged
        return ""

    async def _store(self) -> None:
        while self._fresh:
            batch, self._fresh = self._fresh, []
            new = [mapping(payload.get("event")) for payload, _ in batch if self._is_new(payload)]
            await self.seen.flush()
            for _, acknowledge in batch:
                acknowledge()
            for event in new:
                self._sort(at(event, "type"), event)

    def _is_new(self, payload: Payload) -> bool:
        event, names = payload.get("event"), [at(payload, "event_id")]
        if at(event, "type") in ("message", "app_mention") and at(event, "subtype") not in _CHANGES:
            # A mention is an event of its own, beside that of its message.
            names.append(f"{at(event, 'channel')} {at(event, 'ts')}")
        return all(self.seen.is_new(name) for name in names)

    def _sort(self, kind: str, event: Payload) -> None:
        """Handle an event after the earlier ones of its channel, and when the names that it needs are known."""
        channel = at(event, "channel") or at(event, "item", "channel") or at(event, "channel", "id")
        if (handle := self._handlers.get(kind)) is not None and is_room(channel):
            new = event.get("message") if at(event, "subtype") in _CHANGES else event
            asked = self._rooms.needed(at(new, "user") or at(new, "bot_id"), channel)
            self._order.do(channel, asked, partial(handle, event))

    def _message(self, event: Payload) -> None:
        channel, subtype, report = at(event, "channel"), at(event, "subtype"), self._backend.report
        new, before = mapping(event.get("message")), mapping(event.get("previous_message"))
        if subtype == "message_deleted" or (subtype in _CHANGES and new.get("subtype") == "tombstone"):
            if not self._is_own(before) and (ref := self._ref(channel, before)):
                report("message_deleted", ref, None)
        elif subtype in _CHANGES:
            # Slack also reports previews of links as changes.
            if at(new, "text") != at(before, "text") and (message := self._made(channel, new)):
                message.edited = True
                report("message_edited", message)
        elif subtype in ("channel_topic", "group_topic"):
            report("room_topic_changed", self._rooms.room(channel))
        elif subtype in _SPOKEN and (message := self._made(channel, event)):
            report("message_received", message)
            if users := list(dict.fromkeys(_MENTION.findall(from_mrkdwn(at(event, "text")))))[:_MOST_MENTIONED]:
                report("mention_received", message, [self._rooms.person(user, channel) for user in users])

    def _is_own(self, message: Payload) -> bool:
        is_own = at(message, "user") == self._backend.user or at(message, "bot_id") == self._backend.bot_id != ""
        self.has_echo = self.has_echo or is_own
        return is_own

    def _ref(self, channel: str, message: Payload) -> MessageRef | None:
        """Return the address of a message. That of a private conversation is the person."""
        ts, thread, user = at(message, "ts"), at(message, "thread_ts"), at(message, "user")
        if channel[:1] == "D":
            others = (person for person, place in self._rooms.direct.items() if place == channel)
            channel = user if user not in ("", self._backend.user) else next(others, "")
        is_valid = _TS.fullmatch(ts) and channel
        return MessageRef(self._backend.network, channel, ts, thread * (thread != ts)) if is_valid else None

    def _made(self, channel: str, event: Payload) -> Message | None:
        user = at(event, "user") or at(event, "bot_id")
        if self._is_own(event) or not is_user(user) or (ref := self._ref(channel, event)) is None:
            return None
        if channel[:1] == "D":
            self._rooms.direct[user] = channel
        text, mention = from_mrkdwn(at(event, "text")).strip(), f"<@{self._backend.user}>"
        if text.startswith(mention) and (rest := text.removeprefix(mention).lstrip(" :,\n")):
            # As people write the bot's name before a command.
            text = f"{self._backend.nick}: {rest}"
        message = self._addressed(text, user, channel)
        message.extras = {"slack_event": event, **({"bot": True} if event.get("bot_id") or user == "USLACKBOT" else {})}
        message.ref, message.thread, message.sent_at = ref, ref.thread, float(ref.id)
        message.attachments = [self._attachment(file) for file in mappings(event.get("files"))]
        return message

    def _addressed(self, text: str, user: str, channel: str) -> Message:
        to = self._backend.bot_identifier if channel[:1] == "D" else self._rooms.room(channel)
        return Message(text, self._rooms.person(user, channel), to)

    def _attachment(self, file: Payload) -> Attachment:
        fetch = partial(self._backend.client.download, at(file, "url_private_download") or at(file, "url_private"))
        return attachment(one_line(file.get("name")), file.get("mimetype"), file.get("size"), fetch)

    def _reaction(self, action: str, event: Payload) -> None:
        user, channel, owner = at(event, "user"), at(event, "item", "channel"), at(event, "item_user")
        ref = self._ref(channel, {"ts": at(event, "item", "ts"), "user": user})
        name = emoji_of(one_line(event.get("reaction")))
        if ref is not None and name and is_user(user) and user != self._backend.user:
            who, to = self._rooms.person(user, channel), self._rooms.person(owner, channel) if is_user(owner) else None
            given = Reaction(who, to, action, at(event, "event_ts"), name, ref._asdict())
            self._backend.report("reaction_changed", given)

    def _membership(self, event: Payload) -> None:
        user, channel, inviter = at(event, "user"), at(event, "channel"), at(event, "inviter")
        has_joined = at(event, "type") == "member_joined_channel"
        if user in ("", self._backend.user) or at(event, "type") in _OUT:
            self._rooms.moved(channel, has_joined, inviter)
        elif is_user(user):
            by = self._rooms.person(inviter) if is_user(inviter) else None
            who = self._rooms.person(user, channel)
            self._backend.report("room_joined" if has_joined else "room_left", self._rooms.room(channel), who, by)

    def _command(self, payload: Payload) -> None:
        name, text = at(payload, "command").removeprefix("/"), from_mrkdwn(at(payload, "text")).strip()
        if is_user(user := at(payload, "user")):
            text = text or "help" if name in ("errklein", self._backend.nick) else f"{name} {text}"
            message = self._addressed(f"{self._backend.config.BOT_PREFIX}{text.strip()}", user, at(payload, "channel"))
            place = {name: at(payload, name) for name in ("user", "channel", "response_url")}
            message.extras["ephemeral"] = {**place, "until": self._backend.context.now() + EPHEMERAL_FOR}
            self._backend.report("message_received", message)

    def _press(self, payload: Payload) -> None:
        user, channel, events = at(payload, "user"), at(payload, "channel"), self._backend.events
        said = {**mapping(payload.get("message")), "ts": at(payload, "container", "message_ts"), "user": user}
        if events is None or not is_user(user) or (ref := self._ref(channel, said)) is None:
            return
        for action in mappings(payload.get("actions")):
            number = at(action, "value")
            if at(action, "action_id").startswith("choice-") and _NUMBER.fullmatch(number):
                press = Press(ref, self._rooms.person(user, channel), int(number))
                if refusal := events.choice_made(self._backend, press):
                    told = Deferred.fromCoroutine(self._backend.whisper(payload, refusal))
                    told.addErrback(lambda failure: failure.trap(RequestRefused, NotConfirmed, RetryLater) and None)


HELLO, OVERLAP, LOOK, QUIET, ECHO = 20.0, 10.0, 10.0, 600.0, 30.0
"""The seconds within which Slack must greet; for which a replaced socket stays open; between looks at a socket; without any event after
which it is replaced, since Slack sometimes sends nothing on one that answers to pings; and for the event of the bot's own message."""


class SocketMode:
    """Receives events until the connection is lost. A socket is opened before the one that it replaces is closed."""

    def __init__(self, backend: SlackBackend) -> None:
        self._backend, self._receiver, self._reactor = backend, backend.receiver, backend.context.reactor
        self._sockets: list[Socket] = []
        self._over: Deferred[str] = Deferred()
        """Fires when the newest socket is over: with the reason, or "" if another one takes its place."""
        self._opened_at = 0.0
        self._timer: IDelayedCall | None = None

    async def run(self, connected: Callable[[], object]) -> str:
        """Open sockets, call `connected` after the first, and return the reason when the connection is lost."""
        reason = ""
        try:
            while not reason:
                over: Deferred[str] = Deferred()
                await self._open(over)
                self._over, self._opened_at = over, self._reactor.seconds()
                if len(self._sockets) == 1:
                    connected()
                    self._look()
                reason = await over
            return reason
        finally:
            cancel_timers(self._timer)
            while self._sockets:
                self._sockets.pop().close()

    async def _open(self, over: Deferred[str]) -> None:
        answer = await self._backend.client.call("apps.connections.open", by="app_token")
        hello: Deferred[None] = Deferred()
        opened: list[Socket] = []

        def end(reason: str, error: Exception | None = None) -> None:
            is_newest = self._sockets[-1:] == opened
            if is_newest and not hello.called:
                hello.errback(error or NotConfirmed(f"Slack has not said hello: {reason}"))
            elif is_newest and not over.called:
                over.errback(error) if error else over.callback(reason)

        def receive(text: str | bytes) -> None:
            envelope = mapping(json.loads(text))
            kind = at(envelope, "type")
            if kind == "hello" and not hello.called:
                hello.callback(None)
            elif kind == "disconnect":
                reason, off = at(envelope, "reason"), Unusable("Socket Mode is switched off in the app")
                is_renewed = reason in ("warning", "refresh_requested")
                end("" if is_renewed else reason or kind, off if reason == "link_disabled" else None)
            elif envelope_id := at(envelope, "envelope_id"):
                answer = partial(self._acknowledge, opened, json.dumps({"envelope_id": envelope_id}))
                self._receiver.receive(kind, mapping(envelope.get("payload")), answer)

        opened.append(await self._backend.context.websocket(at(answer, "url"), receive))
        self._sockets += opened
        opened[0].closed.addCallback(end)
        late = NotConfirmed(f"no hello of Slack within {HELLO:g} s")
        await hello.addTimeout(HELLO, self._reactor, lambda *_: Failure(late))
        self._receiver.heard_at = self._reactor.seconds()

    def _acknowledge(self, opened: list[Socket], text: str) -> None:
        # Without it, Slack sends the event again.
        with suppress(NotConfirmed, IndexError):
            opened[0].send(text)

    def _look(self) -> None:
        self._timer = self._reactor.callLater(LOOK, self._look)
        now, heard, posted = self._reactor.seconds(), self._receiver.heard_at, self._backend.posted_at
        is_deaf = now - heard > QUIET or (self._receiver.has_echo and posted > heard and now - posted > ECHO)
        if is_deaf and now - self._opened_at > ECHO and not self._over.called:
            self._over.callback("")
        while len(self._sockets) > 1 and not self._over.called and now - self._opened_at >= OVERLAP:
            self._sockets.pop(0).close()
