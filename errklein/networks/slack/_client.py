"""The Web API of Slack: calls, and uploads; the app with its scopes and manifest; events, slash commands and presses of buttons, by Socket
Mode or as requests, each of which is handled once, also after a restart; texts in mrkdwn (https://docs.slack.dev/messaging/formatting-message-text), and blocks, of which cards and buttons consist.
In a text whose `<` are entities, nothing is a command such as `<!channel>` unless it is put in afterwards."""

from __future__ import annotations

import html
import json
import re
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from errklein.chat import REACTION_ADDED, REACTION_REMOVED, Attachment, Message, Reaction
from errklein.chat.handles import MessageRef
from errklein.chat.messages import Card
from errklein.chat.operations import Press, Upload
from errklein.config import ConfigError
from errklein.config.networks import CommandText, NetworkFinding
from errklein.networks._connection import Unusable
from errklein.networks.context import NetworkContext
from errklein.networks.directory import RoomOrder
from errklein.networks.json_client import File, JSONClient, RequestRefused, at, attachment, mapping, mappings, one_line
from errklein.networks.outbox import NotConfirmed, RetryLater
from errklein.networks.slack import rooms_of, settings_of
from errklein.networks.slack.identifiers import is_room, is_user
from errklein.running import cancel_timers
from errklein.text import sanitize, split_message, to_mrkdwn, without_mentions
from errklein.text.emoji import emoji_of

if TYPE_CHECKING:
    from errklein.networks._socket import Socket
    from errklein.networks.slack._backend import SlackBackend

OPEN = {"types": "public_channel,private_channel", "exclude_archived": "true"}
_READ = re.compile(r"\w+\.(info|list|members|conversations|getUploadURLExternal)")  # methods that don't read JSON
_FILE = re.compile(r"/files-[\w-]+/[\w-]+/(download/)?[^/]+")
_OF_TOKEN = re.compile("account_inactive|invalid_auth|not_allowed_token_type|not_authed|token_(expired|revoked)")
_TEMPORARY = re.compile("fatal_error|internal_error|request_timeout|service_unavailable|team_added_to_org")
_PAGES = {"token": "OAuth & Permissions", "app_token": "Basic Information", "config_token": "Your Configuration Tokens"}
_REASONS = {
    "cannot_dm_bot": "Slack lets bots write to no other bot",
    "channel_not_found": "there is no such room, or it is private and the bot is not in it: invite the bot",
    "invalid_name": "Slack has no emoji, or allows no room, of that name",
    "is_archived": "the room is archived",
    "message_not_found": "the message was deleted",
    "method_not_supported_for_channel_type": "bots can't join private rooms: invite the bot",
    "missing_scope": "BOT_IDENTITY[{key!r}] lacks the scope {needed}: add it to the app, and install the app again",
    "not_in_channel": "the bot is not in the room: invite the bot",
    "restricted_action": "the settings of the workspace or room don't let the bot do that",
    "user_not_found": "there is no such person",
}


class _Accepted(Exception):
    """The server has accepted a request, and doesn't answer with JSON."""


class SlackClient:
    """Calls methods with the bot's tokens. Use it on the reactor. Failures are those of `JSONClient`, with reasons for people.
    `scopes` are those of the bot token."""

    def __init__(self, context: NetworkContext) -> None:
        self.settings = settings_of(context.config)
        self._context, self._api = context, urlsplit(self.settings["api"])
        self.scopes: Collection[str] = ()
        self._http: dict[str, JSONClient] = {}
        for key in ("token", "app_token", "config_token"):
            headers = {"Authorization": f"Bearer {self.settings[key]}"}
            self._http[key] = context.http(self.settings["api"], headers, partial(self._read_failure, key))

    def call(self, method: str, by: str = "token", **arguments: Any) -> Deferred[Mapping[str, Any]]:
        """Call a method of the Web API. `by` is the key of the token. Arguments that are None are left out."""
        http, given = self._http[by], {name: value for name, value in arguments.items() if value is not None}
        texts = {name: str(value) for name, value in given.items()}
        answer = http.call("GET", method, params=texts) if _READ.fullmatch(method) else http.call("POST", method, given)
        return answer.addCallback(mapping)

    async def pages(self, method: str, key: str, **arguments: Any) -> AsyncIterator[Any]:
        cursor: str | None = None
        while cursor != "":
            answer = await self.call(method, limit=999, cursor=cursor, **arguments)
            for item in answer.get(key) or ():
                yield item
            cursor = at(answer, "response_metadata", "next_cursor")

    async def upload(self, channel: str, file: Upload) -> None:
        place = await self.call("files.getUploadURLExternal", filename=file.name, length=len(file.content))
        content = File(file.content, file.name, file.type or "application/octet-stream")
        await self.post_to(at(place, "upload_url"), content)
        files, thread = [{"id": at(place, "file_id"), "title": file.name}], file.thread or None
        await self.call("files.completeUploadExternal", files=files, channel_id=channel, thread_ts=thread)

    def download(self, url: str, most: int) -> Deferred[bytes]:
        # Whoever adds a file that is elsewhere chooses its address. It could be that of a method, which the token would allow.
        if not _FILE.fullmatch(urlsplit(url).path):
            return fail(RequestRefused(0, "", "the file isn't on Slack"))
        return self._http["token"].fetch(url, most, [f"files.{self._api.netloc}"])

    async def post_to(self, url: str, content: Mapping[str, Any] | File) -> None:
        """Send JSON or a file, without a token, to an address that Slack has given, and whose response is no JSON."""
        parts, own = urlsplit(url), self._api
        if parts[:2] not in (own[:2], ("https", f"files.{own.netloc}"), ("https", f"hooks.{own.netloc}")):
            raise RequestRefused(0, "", "the address is none of Slack's")
        origin, path = f"{parts.scheme}://{parts.netloc}", f"{parts.path}?{parts.query}" if parts.query else parts.path
        http = self._context.http(origin, {}, lambda code, *_: _Accepted() if code == 200 else None)
        with suppress(_Accepted):
            sent = http.upload("POST", path, content) if isinstance(content, File) else http.call("POST", path, content)
            await sent

    def _read_failure(self, key: str, status: int, headers: Mapping[str, str], body: Any) -> Exception | None:
        if key == "token" and "x-oauth-scopes" in headers:
            self.scopes = re.findall(r"[\w:.]+", headers["x-oauth-scopes"])
        error, needed = at(body, "error")[:100], at(body, "needed")[:200]
        if mapping(body).get("ok") is not False or status == 429:
            return None
        if _OF_TOKEN.fullmatch(error):
            return Unusable(f"Slack refuses BOT_IDENTITY[{key!r}] ({error}); see {_PAGES[key]} on api.slack.com/apps")
        if _TEMPORARY.fullmatch(error):
            return NotConfirmed(f"Slack has answered with {error}")
        known = "restricted_action" if error.startswith("restricted_action") else error
        reason = _REASONS.get(known, "{error}").format(error=error, key=key, needed=needed)
        if needed:
            self._context.log.warn("{network}: {reason}", network=self._context.network, reason=reason)
        return RequestRefused(status, error, reason)


SCOPES = {
    "reading messages": "app_mentions:read channels:history groups:history im:history mpim:history",
    "sending messages": "chat:write im:write",
    "names of rooms, and who is there": "channels:read groups:read mpim:read",
    "joining and managing rooms": "channels:join channels:manage groups:write",
    "files": "files:read files:write",
    "reactions": "reactions:read reactions:write",
    "names and addresses of people": "users:read users:read.email",
    "slash commands": "commands",
}
"""The scopes of the bot token, by what doesn't work without them."""
EVENTS = """app_mention channel_archive channel_left channel_rename group_archive group_left group_rename member_joined_channel
    member_left_channel message.channels message.groups message.im message.mpim reaction_added reaction_removed"""
MOST_COMMANDS, _MOST_TEXT = 50, 100
_COMMAND = re.compile(r"[a-z0-9_-]{1,31}")


async def check(context: NetworkContext) -> list[NetworkFinding]:
    """Try the tokens, and compare the scopes; raise ConfigError if Slack refuses a token."""
    client = SlackClient(context)
    way = "Socket Mode" if client.settings["app_token"] else "the Events API"
    try:
        me = await client.call("auth.test")
        if client.settings["app_token"]:
            await client.call("apps.connections.open", by="app_token")
    except Unusable as error:
        raise ConfigError(str(error)) from None
    found = [NetworkFinding(f"{me.get('team')} on Slack accepts the bot as @{me.get('user')}, with {way}")]
    lacking = [(one, what) for what, scopes in SCOPES.items() for one in scopes.split() if one not in client.scopes]
    found += [NetworkFinding(f"the scope {one} is missing, for {what}", True) for one, what in lacking]
    if not lacking and (rooms := rooms_of(context.config)):
        listed = [one async for one in client.pages("conversations.list", "channels", **OPEN)]
        known = {name for one in listed for name in (one["id"], f"#{one['name']}")}
        text = "there is no room {} of CHATROOM_PRESENCE, or it is private and the bot is not in it"
        found += [NetworkFinding(text.format(room), True) for room in rooms if room not in known]
    return found


def slash_commands(commands: Sequence[CommandText], url: str) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    for name, description, syntax in [CommandText("errklein", "Any command of the bot", "COMMAND"), *commands]:
        if _COMMAND.fullmatch(name):
            given = {"url": url, "usage_hint": syntax[:_MOST_TEXT], "description": (description or name)[:_MOST_TEXT]}
            known = {key: one for key, one in given.items() if one}
            made.append({"command": f"/{name}", "should_escape": True, **known})
    return made


def manifest(entries: Sequence[Mapping[str, Any]], url: str) -> dict[str, Any]:
    """Return the manifest of a new app. `url` is the address for events; without one, it uses Socket Mode."""
    request = {"request_url": url} if url else {}
    home = {"messages_tab_enabled": True, "messages_tab_read_only_enabled": False}
    bot, events = {"display_name": "errklein", "always_online": True}, {**request, "bot_events": EVENTS.split()}
    interactivity = {"is_enabled": True, **request}
    return {
        "display_information": {"name": "errklein"},
        "features": {"app_home": home, "bot_user": bot, "slash_commands": entries},
        "oauth_config": {"scopes": {"bot": " ".join(SCOPES.values()).split()}},
        "settings": {"event_subscriptions": events, "interactivity": interactivity, "socket_mode_enabled": not url},
    }


async def push_commands(context: NetworkContext, commands: Sequence[CommandText], dry: bool) -> Sequence[str]:
    """Add slash commands to the app, or return a manifest to paste if there is no app configuration token."""
    client = SlackClient(context)
    url = "" if client.settings["app_token"] else "https://YOUR-BOT.example.org/slack/events"
    if not client.settings["config_token"]:
        made = json.dumps(manifest(slash_commands(commands, url)[:MOST_COMMANDS], url), indent=2)
        return [f"Without 'config_token', paste this as the manifest of the app (JSON):\n{made}"]
    bot = await client.call("bots.info", bot=at(await client.call("auth.test"), "bot_id"))
    app = {"by": "config_token", "app_id": at(bot, "bot", "app_id")}
    whole = {**mapping((await client.call("apps.manifest.export", **app)).get("manifest"))}
    there = list(mapping(whole.get("features")).get("slash_commands") or ())
    wanted = slash_commands(commands, next((one["url"] for one in there if one.get("url")), url))
    # What is there may be others', and stays.
    new = [one for one in wanted if one["command"] not in [other["command"] for other in there]]
    fitting = new[: max(0, MOST_COMMANDS - len(there))]
    if fitting and not dry:
        whole["features"] = {**mapping(whole.get("features")), "slash_commands": there + fitting}
        await client.call("apps.manifest.update", **app, manifest=json.dumps(whole))
    left = f"not added, since an app has at most {MOST_COMMANDS}: {len(new) - len(fitting)} commands"
    return [f"new: {one['command']}" for one in fitting] + [left] * (len(new) > len(fitting)) or ["nothing to change"]


_SECTION, _FIELD, _FIELDS, _LABEL, _HEADER = 3_000, 2_000, 10, 75, 150
_TOKEN = re.compile(r"<([^<>]*)>")
_LINK = "<[^<>]*>|"  # comes first, so that nothing in it is found
_USER = re.compile(_LINK + r"(?<!/)(?:&lt;)?@?\b([UW][A-Z0-9]{6,40})\b(?:\|[^&<>\s]*)?(?:&gt;)?")
_ALL = re.compile(_LINK + r"(?<![\w/])(?:&lt;!|@)(here|channel|everyone)\b(?:&gt;)?")


def message_text(
    markdown: str, name_of: Callable[[str], str] = lambda user: "", people: Sequence[str] = (), for_all: bool = False
) -> str:
    """Return the text of a message. It notifies `people`, who are given by id; with `for_all` also those whose ids are in the text,
    and all by `@here` and the like. Other mentions are shown as names, as far as `name_of` knows them."""
    text, left = to_mrkdwn(markdown if for_all else without_mentions(markdown)), list(people)

    def show(found: re.Match[str]) -> str:
        user, name = found[1], html.escape(name_of(found[1]) if found[1] else "", quote=False)
        if user in people or (for_all and (name or found[0][0] == "&")):
            left[:] = [one for one in left if one != user]
            return f"<@{user}>"
        return f"@{name}" if name and found[0] != user else found[0]

    text = _USER.sub(show, text)
    for user in left[::-1]:
        name = "@" + html.escape(name_of(user), quote=False)
        places = re.finditer(_LINK + re.escape(name), text) if name[1:] else ()
        found = next((one for one in places if one[0] == name), None)
        text = f"{text[: found.start()]}<@{user}>{text[found.end() :]}" if found else f"<@{user}> {text}"
    return _ALL.sub(lambda found: f"<!{found[1]}>" if found[1] else found[0], text) if for_all else text


def from_mrkdwn(text: str) -> str:
    """Return a received text as it was typed. Mentions of people stay as `<@U0123456789>`, which is unambiguous."""
    return sanitize(html.unescape(_TOKEN.sub(_typed, text)))


def _typed(found: re.Match[str]) -> str:
    what, _, label = found[1].partition("|")
    known = {"@": f"<{what}>", "#": f"#{label}" if label else f"<{what}>", "!": label or f"@{what[1:]}"}
    link = f"{label} ({what})" if label and not what.endswith(label.rstrip("/")) else label or what
    return known.get(what[:1], link)


def _sections(mrkdwn: str) -> list[dict[str, Any]]:
    parts = [part for part in split_message(mrkdwn, _SECTION) if part.strip()]
    return [{"type": "section", "text": {"type": "mrkdwn", "text": part}} for part in parts]


def choice_blocks(mrkdwn: str, choices: Sequence[str]) -> list[dict[str, Any]]:
    buttons: list[dict[str, Any]] = []
    for number, label in enumerate(choices):
        text = {"type": "plain_text", "text": label[:_LABEL], "emoji": False}
        buttons.append({"type": "button", "action_id": f"choice-{number}", "value": str(number), "text": text})
    return [*_sections(mrkdwn), {"type": "actions", "elements": buttons}]


def card_content(card: Card) -> dict[str, Any]:
    """Return the blocks of a card, in an attachment if it has a colour. Its addresses must be safe."""
    title, heading = sanitize(card.title).strip(), list[dict[str, Any]]()
    if card.link:
        address = html.escape(card.link, quote=False).replace("|", "%7C").replace(">", "%3E")
        heading = _sections(f"*<{address}|{html.escape(title or card.link, quote=False)}>*")
    elif title:
        heading = [{"type": "header", "text": {"type": "plain_text", "text": title[:_HEADER], "emoji": False}}]
    shown = partial(message_text, for_all=card.mentions)
    blocks = [*heading, *_sections(shown(card.body))]
    if card.thumbnail and blocks and blocks[-1]["type"] == "section":
        blocks[-1]["accessory"] = {"type": "image", "image_url": card.thumbnail, "alt_text": title or "thumbnail"}
    fields = [f"*{message_text(name)}*\n{shown(value)}"[:_FIELD] for name, value in card.fields]
    texts = [{"type": "mrkdwn", "text": one} for one in fields]
    blocks += [{"type": "section", "fields": texts[at : at + _FIELDS]} for at in range(0, len(texts), _FIELDS)]
    if card.image:
        blocks.append({"type": "image", "image_url": card.image, "alt_text": title or "image"})
    return {"attachments": [{"color": card.color, "blocks": blocks}]} if card.color else {"blocks": blocks}


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
