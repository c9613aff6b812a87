"""The methods of the Bot API, what its errors mean, and what `errklein network` does with them; texts in Telegram's HTML
(https://core.telegram.org/bots/api#html-style); a connection as one bot, and reading of updates, by polling or as webhook."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from secrets import token_urlsafe
from typing import Any, NoReturn
from urllib.parse import quote, urlsplit

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from errklein.chat import Attachment, Identifier, Room, RoomDoesNotExistError, RoomError, UserDoesNotExistError
from errklein.chat.events import REACTION_ADDED, REACTION_REMOVED, Reaction
from errklein.chat.handles import MessageRef
from errklein.chat.operations import Delete, Edit, Operation, Post, Press, React, Upload
from errklein.chat.outgoing import OutgoingMessage, Wait
from errklein.config.networks import CommandText, NetworkFinding
from errklein.networks._connection import Unusable
from errklein.networks.base import EVERYTHING, ConnectedNetwork
from errklein.networks.context import Latest, NetworkContext
from errklein.networks.directory import RoomActions, reported
from errklein.networks.json_client import TIMEOUT, File, RequestRefused, mapping, one_line
from errklein.networks.outbox import NotConfirmed, RetryLater
from errklein.networks.telegram import SERVER, SETTINGS, rooms_of
from errklein.networks.telegram.identifiers import TelegramOccupant, TelegramPerson, TelegramRoom
from errklein.ports.chat import BackendEvents
from errklein.text import is_only_text, sanitize, to_xhtml
from errklein.text.layout import compact_table
from errklein.text.masking import masker
from errklein.text.xhtml import subset

_MOST_COMMANDS = 100  # that Telegram takes


class TelegramClient:
    """Calls methods with the bot's token, which is a part of each URL. Use it on the reactor. Failures are those of `JSONClient`;
    the `code` of one is the id of the supergroup that the group has become."""

    def __init__(self, context: NetworkContext) -> None:
        identity = SETTINGS.read_identity(context.config.BOT_IDENTITY)
        token, server = identity["token"], identity.get("server", SERVER)
        self.webhook: str = identity.get("webhook", "")
        self._files = f"{server}/file/bot{token}/"
        self._http = context.http(f"{server}/bot{token}", read_failure=_read_failure)
        masker.learn(self, "token", [token, token.partition(":")[2]])

    async def call(self, method: str, seconds: float = TIMEOUT, file: File | None = None, **fields: Any) -> Any:
        """Return the result of a method. Fields that are None are left out."""
        given = {name: value for name, value in fields.items() if value is not None}
        if file is None:
            answer = await self._http.call("POST", method, given, timeout=seconds)
        else:
            fields = {name: json.dumps(one) for name, one in given.items()}
            answer = await self._http.upload("POST", method, file, fields)
        if not isinstance(answer, dict) or "result" not in answer:
            raise NotConfirmed("the answer isn't by Telegram")
        return answer["result"]

    async def fetch(self, id: str, most: int) -> bytes:
        found = await self.call("getFile", file_id=id)
        return await self._http.fetch(self._files + quote(found["file_path"]), most)


def _read_failure(status: int, headers: Mapping[str, str], body: Any) -> Exception | None:
    reason, more = one_line(mapping(body).get("description")), mapping(mapping(body).get("parameters"))
    if not reason:
        # It isn't by Telegram, but for example by a proxy.
        return NotConfirmed(f"the answer has status {status}, and isn't by Telegram") if 300 <= status < 500 else None
    if status == 401 or (status == 404 and reason == "Not Found"):
        return Unusable(f"Telegram refuses BOT_IDENTITY['token'] ({reason}); @BotFather shows the current one")
    if status == 409:
        return Unusable(f"another program reads the messages of the same bot ({reason})")
    if status == 429:
        return RetryLater(float(more.get("retry_after", 5)))
    return RequestRefused(status, str(more["migrate_to_chat_id"]), reason) if "migrate_to_chat_id" in more else None


async def check(context: NetworkContext) -> Sequence[NetworkFinding]:
    client = TelegramClient(context)
    me: Any = await client.call("getMe")
    found = [(f"Telegram accepts the bot as @{me['username']}", False)]
    reads_all = bool(me.get("can_read_all_group_messages"))
    if not reads_all:
        text = "privacy mode is on: in groups where it is no administrator, the bot only gets commands with / and replies to it"
        found.append((f"{text}; change that with /setprivacy of @BotFather, and add the bot again", False))
    for room in rooms_of(context.config):
        try:
            status: str = (await client.call("getChatMember", chat_id=int(room), user_id=me["id"]))["status"]
        except RequestRefused as error:
            status = error.reason
        if status not in ("creator", "administrator", "member", "restricted"):
            found.append((f"the bot is not in {room} of CHATROOM_PRESENCE ({status}); add it there", True))
        elif status in ("member", "restricted"):
            text = f"the bot is no administrator of {room}, so it gets no reactions there"
            found.append((text if reads_all else f"{text}, and not all messages", not reads_all))
    hook: Any = await client.call("getWebhookInfo")
    if hook["url"] not in ("", client.webhook, await context.state.get("webhook")):
        found.append(("Telegram posts the messages of the bot to another program", True))
    elif hook.get("last_error_message"):
        found.append((f"the last message for the webhook failed: {one_line(hook['last_error_message'])}", True))
    return [NetworkFinding(*one) for one in found]


async def push_commands(context: NetworkContext, commands: Sequence[CommandText], dry: bool) -> Sequence[str]:
    """Add the commands to the lists of Telegram, and remove those that were added before; see `Network.push_commands`."""
    client, pushed = TelegramClient(context), await context.state.get("commands", [])
    texts = {name.lower(): (one_line(text) or one_line(syntax) or name)[:256] for name, text, syntax in commands}
    own = {name: text for name, text in texts.items() if re.fullmatch("[a-z0-9_]{1,32}", name)}
    refused = "/{} is left out: Telegram takes 32 letters, digits and underscores"
    lines = [refused.format(name) for name in texts if name not in own]
    for scope in ("default", "all_private_chats", "all_group_chats"):
        given: Any = await client.call("getMyCommands", scope={"type": scope})
        if not given and scope != "default":
            # People see the default list.
            continue
        before = {one["command"]: one["description"] for one in given}
        after = {name: text for name, text in before.items() if name in own or name not in pushed}
        lines += [f"{scope}: /{name} is removed" for name in before if name not in after]
        for name, text in own.items():
            if name not in after and len(after) >= _MOST_COMMANDS:
                lines.append(f"{scope}: /{name} is left out: Telegram takes {_MOST_COMMANDS} commands")
                continue
            if after.get(name) != text:
                lines.append(f"{scope}: /{name} is {'changed' if name in after else 'added'}: {text}")
            after[name] = text
        if after != before and not dry:
            listed = [{"command": name, "description": text} for name, text in after.items()]
            await client.call("setMyCommands", commands=listed, scope={"type": scope})
    if not dry:
        await context.state.set("commands", list(own))
    return lines


# The reactions of bots: https://core.telegram.org/bots/api#reactiontypeemoji
EMOJI = frozenset({"❤\u200d🔥", "👨\u200d💻", "🤷\u200d♂", "🤷\u200d♀"}).union(
    "❤👍👎🔥🥰👏😁🤔🤯😱🤬😢🎉🤩🤮💩🙏👌🕊🤡🥱🥴😍🐳🌚🌭💯🤣⚡🍌🏆💔🤨😐🍓🍾💋🖕😈😴😭🤓👻👀🎃🙈😇😨🤝✍",
    "🤗🫡🎅🎄☃💅🤪🗿🆒💘🙉🦄😘💊🙊😎👾🤷😡",
)
TOPIC = "topic:"  # the beginning of the id of a thread that is a topic of a group; others are ids of messages
_TAGS = frozenset({"a", "b", "blockquote", "code", "del", "em", "i", "pre", "s", "strong", "u"})
_TAG, _HEADING = re.compile(r"<[^<>]*>"), re.compile(r"<(/?)h[1-6][^<>]*>")
_TABLE, _ROW, _CELL = (
    re.compile(rf"<{name}\b[^<>]*>([^<]*+(?:<(?!/?{name}\b)[^<]*+)*+)</{name}>") for name in ("table", "tr", "t[dh]")
)


def to_html(markdown: str, people: Mapping[str, str]) -> str:
    """Return the HTML of a text that notifies people, given as names by id: the name in the text, or else before it, is a link."""
    markdown = sanitize(markdown).strip("\n")
    page = html.escape(markdown, quote=False)
    if not is_only_text(markdown):
        page = _HEADING.sub(lambda tag: "</b></p>" if tag[1] else "<p><b>", to_xhtml(markdown))
        page = subset(_TABLE.sub(_as_code, page), _TAGS, {"a": ("href",), "code": ("class",)})
        page = re.sub(r"(<blockquote>)\n+|(?<!\n)\n++(</blockquote>)", r"\1\2", page)
        if not html.unescape(_TAG.sub("", page)).strip():
            # Telegram refuses it.
            page = html.escape(markdown, quote=False)
    for person, name in people.items():
        shown = html.escape(name, quote=False)
        link = f'<a href="tg://user?id={person}">{shown}</a>'
        # Not in tags, and not where Telegram takes no links.
        parts = re.split(rf"(?<![\w&]){re.escape(shown)}(?!\w)(?![^<]*(?:>|</(?:a|code|pre)>))", page, maxsplit=1)
        if len(parts) > 1:
            page = link.join(parts)
        elif _units(page) + 2 * len(name) < 4090:
            page = f"{link}: {page}"
    return page


def size_of(markdown: str) -> int:
    """Return the size of a text as Telegram counts it: in units of UTF-16, without tags."""
    return _units(to_html(markdown, {}))


def _units(page: str) -> int:
    return len(html.unescape(_TAG.sub("", page)).encode("utf-16-le", "surrogatepass")) // 2


def place(thread: str, reply_to: str) -> dict[str, Any]:
    """Return the fields of a message in a thread: a topic of the group, or the answers to a message."""
    topic = int(thread.removeprefix(TOPIC)) if thread.startswith(TOPIC) else None
    reply = reply_to or (thread if topic is None else "")
    parameters = {"message_id": int(reply), "allow_sending_without_reply": True} if reply else None
    return {"message_thread_id": topic, "reply_parameters": parameters}


def keyboard(choices: Sequence[str]) -> dict[str, Any] | None:
    """Return the buttons of a message, each with its number as data; four in a row if all are short."""
    buttons = [{"text": label, "callback_data": str(number)} for number, label in enumerate(choices)]
    width = 4 if max(map(len, choices), default=0) <= 12 else 1
    rows = [buttons[at : at + width] for at in range(0, len(buttons), width)]
    return {"inline_keyboard": rows} if rows else None


def _as_code(table: re.Match[str]) -> str:
    rows = [
        [html.unescape(_TAG.sub("", cell[1])).strip() for cell in _CELL.finditer(row[1])]
        for row in _ROW.finditer(table[1])
    ]
    return f"<pre>{html.escape(compact_table(rows[0], rows[1:]), quote=False)}</pre>" if rows else ""


_IDENTIFIER = re.compile("(-[1-9][0-9]{0,18})(?:/([1-9][0-9]{0,18}))?|([1-9][0-9]{0,18})")
_MOST_UNITS, _COLOURED = 4096, "\ufe0f"  # the latter asks for a coloured picture of an emoji
_MOST_LEFT = 1000  # the number of rooms of which it is known why the bot isn't there
_PHOTOS, _LARGEST_PHOTO = ("image/jpeg", "image/png", "image/webp"), 10_000_000
_FEATURES = replace(EVERYTHING, measure=size_of, emoji=EMOJI | {one + _COLOURED for one in EMOJI}, choices=100)


class TelegramBackend(ConnectedNetwork, RoomActions):
    """A connection to Telegram. Implements `outbox.Transport` and `ManagesRooms`, too, and the methods of `Directory` that rooms
    use, for the ids that groups had before they became supergroups."""

    mode = "telegram"
    joins_configured_rooms = is_encrypted = True
    window = 16

    def __init__(self, context: NetworkContext) -> None:
        ConnectedNetwork.__init__(self, context)
        RoomActions.__init__(self, context.reactor, self.network)
        self.message_size_limit = min(getattr(context.config, "MESSAGE_SIZE_LIMIT", None) or _MOST_UNITS, _MOST_UNITS)
        self._features = replace(_FEATURES, size=self.message_size_limit)
        self.client = TelegramClient(context)
        self.me: Mapping[str, Any] = {}  # the bot, as Telegram describes it; empty before the first connection
        self._chats: dict[str, list[Any]] = {}
        """Of each room whether the bot is there, and the title, or why not. Telegram doesn't list them, so they are stored."""
        self._moved: dict[str, str] = {}
        self._reactions = Latest()
        self._updates = TelegramUpdates(self)

    async def session(self) -> None:
        await self._updates.session()

    def disconnect(self, grace: float = 0.0) -> Deferred[None]:
        self.stop()
        return super().disconnect(grace).addCallback(lambda _: self._updates.flush())

    async def send_operation(self, message: OutgoingMessage, operation: Operation, key: str) -> str:
        ref, sent = getattr(operation, "ref", None), None
        chat, number = (message.recipient, 0) if ref is None else (ref.room, int(ref.id))
        call, where = partial(self._call, chat=chat), place(getattr(operation, "thread", ""), message.details)
        match operation:
            case Post(text, _, mentions, choices):
                sent = await call("sendMessage", **self._html(text, mentions), **where, reply_markup=keyboard(choices))
            case Edit(_, text, mentions):
                try:
                    await call("editMessageText", message_id=number, **self._html(text, mentions))
                except RequestRefused as error:
                    if "message is not modified" not in error.reason:
                        raise
            case Delete():
                await call("deleteMessage", message_id=number)
            case React(_, emoji, remove):
                emoji = emoji.replace(_COLOURED, "")
                # A bot has one reaction to a message: a later one may have taken its place.
                if not remove or self._reactions.get((chat, number), emoji) == emoji:
                    self._reactions[chat, number] = "" if remove else emoji
                    reaction = [] if remove else [{"type": "emoji", "emoji": emoji}]
                    await call("setMessageReaction", message_id=number, reaction=reaction)
            case Upload(name, type, content):
                try:
                    if type not in _PHOTOS or len(content) > _LARGEST_PHOTO:
                        raise RequestRefused(0, "", "no photo")
                    sent = await call("sendPhoto", file=File(content, name, type, "photo"), **where)
                except RequestRefused:
                    # Telegram also refuses photos of unusual shapes.
                    file = File(content, name, type or "application/octet-stream", "document")
                    sent = await call("sendDocument", file=file, **where)
        return self._updates.ref(sent, str(self.me["id"])).id if sent is not None else ""

    def _html(self, text: str, mentions: Sequence[str]) -> dict[str, str]:
        people = [who for one in mentions if (who := one.rpartition("/")[2]).isdecimal()]
        return {"text": to_html(text, {who: self._updates.names.get(who, who) for who in people}), "parse_mode": "HTML"}

    async def _call(self, method: str, chat: str, **fields: Any) -> Any:
        try:
            return await self.client.call(method, chat_id=int(self.known(chat)), **fields)
        except RequestRefused as error:
            if error.code[:1] != "-":
                raise
            self.became(self.known(chat), error.code)
            return await self.client.call(method, chat_id=int(error.code), **fields)

    def is_certain(self, person: Identifier) -> bool:
        return True

    def build_identifier(self, text: str) -> Identifier:
        if (found := _IDENTIFIER.fullmatch(text)) is None:
            raise ValueError(f"invalid person or room: {text!r}; expected an id such as 123456789 or -1001234567890")
        if found[1]:
            return TelegramOccupant(found[2], self.room(found[1])) if found[2] else self.room(found[1])
        person = TelegramPerson(text)
        person.network = self.network
        return person

    async def look_up(self, text: str) -> Identifier:
        found = self.build_identifier(text)
        try:
            await self._call("getChat", text.partition("/")[0])
        except RequestRefused as error:
            if error.status == 400 and text[0] == "-":
                raise RoomDoesNotExistError(f"there is no room {text} that the bot knows ({error})") from None
            if error.status == 400:
                raise UserDoesNotExistError(f"{text} has never written to the bot ({error})") from None
        return found

    def room(self, text: str) -> TelegramRoom:
        return TelegramRoom(text, self.network, names=self, actions=self)

    def rooms(self) -> Sequence[Room]:
        return [self.room(chat) for chat in list(self._chats) if self.is_joined(chat)]

    def title_of(self, chat: str) -> str | None:
        is_in, text = self._chats.get(chat, (False, ""))
        return text if is_in else None

    def known(self, name: str) -> str:
        return self._moved.get(name, name)

    def names_of(self, meaning: str) -> list[str]:
        return [old for old, new in list(self._moved.items()) if new == meaning]

    def is_joined(self, name: str) -> bool:
        return self.title_of(self.known(name)) is not None

    def unavailable(self, recipient: str) -> str | None:
        is_in, text = self._chats.get(self.known(recipient), (True, ""))
        return None if is_in else text

    def room_status(self, name: str) -> Wait | None:
        is_in, text = self._chats.get(self.known(name), (None, ""))
        status = Wait(f"the bot is in {name}") if is_in else Wait(f"the bot is not in {name}", cause=text)
        return None if is_in is None else self.connection.absence or status

    async def load_rooms(self) -> None:
        """Read the rooms that an earlier process has known, and look for those of CHATROOM_PRESENCE among the others."""
        chats, moved = await self.context.state.get("rooms", ({}, {}))
        self._chats, self._moved = {**chats, **self._chats}, {**moved, **self._moved}
        for room in map(self.room, rooms_of(self.config)):
            if not room.exists:
                try:
                    await self._enter(room)
                except (RequestRefused, RoomError) as error:
                    self.note(room.id, False, str(error))
                    self.warn(f"the bot is not in {room} of CHATROOM_PRESENCE: {error}")

    def note(self, room: str, is_in: bool, text: str) -> None:
        """Note whether the bot is in a room, with its present title, or why it isn't."""
        if self._chats.get(room) != [is_in, text]:
            self._chats[room] = [is_in, text]
            for old in [one for one, (is_there, _) in self._chats.items() if not is_there][:-_MOST_LEFT]:
                del self._chats[old]
            stored = self.context.state.set("rooms", (dict(self._chats), dict(self._moved)))
            stored.addErrback(lambda failure: self.log.failure("The rooms were not stored", failure))
            if self.connection.is_connected:
                self.outbox.resume()

    def became(self, old: str, new: str) -> None:
        if self.known(old) != new:
            self.warn(f"the group {old} has become the supergroup {new}; use that id in the configuration")
            self._moved[old] = new
            # Not what is noted already: `note` would store nothing.
            self.note(new, *self._chats.pop(new, self._chats.pop(old, (True, ""))))
            self.outbox.rename(old, new)

    def is_inside(self, member: Mapping[str, Any]) -> bool:
        return member["status"] not in ("left", "kicked") and member.get("is_member") is not False

    async def _enter(self, room: Room, password: str = "") -> None:
        if not self.is_inside(await self._call("getChatMember", str(room), user_id=self.me["id"])):
            raise RoomError("Telegram doesn't let bots join; add it in the settings of the group")
        self.note(str(room), True, one_line((await self._call("getChat", str(room)))["title"]))

    join = reported(_enter)

    @reported
    async def leave(self, room: Room, reason: str = "") -> None:
        await self._call("leaveChat", str(room))
        self.note(str(room), False, "it was told to leave")

    @reported
    async def topic(self, room: Room) -> str:
        return one_line((await self._call("getChat", str(room))).get("description"))

    @reported
    async def set_topic(self, room: Room, topic: str) -> None:
        await self._call("setChatDescription", str(room), description=topic[:255])

    def create(self, *_: object) -> NoReturn:
        raise RoomError("Telegram lets bots neither make groups nor invite people, and doesn't tell who is in a group")

    destroy = invite = members = occupants = create


JSON = Mapping[str, Any]
POLL, PATIENCE, CHECKED = 50, 15.0, 60.0
"""The seconds for which Telegram waits for updates, those for its answer beyond, and those between checks of the webhook."""
LATE, _VALID = 3600, 3 * 86400.0
"""The age in seconds from which on messages run no commands, and from which on a position isn't used. Telegram keeps updates
for a day, and begins with another number after a week without any."""
_COMMAND = re.compile(r"/(\w{1,32})(?:@(\w+))?(?!\S)", re.ASCII)
_FILES = ("photo", "document", "audio", "video", "voice", "animation", "video_note", "sticker")


class TelegramUpdates:
    def __init__(self, backend: TelegramBackend) -> None:
        self._backend, self._context, self._call = backend, backend.context, backend.client.call
        self._seen = self._context.seen("updates")
        self.flush = self._seen.flush
        self._oldest, self._secret = 0, ""
        self.known, self.names = Latest(), Latest()
        """The senders and threads of messages, by room and id; the names of people, by id."""

    async def session(self) -> None:
        backend = self._backend
        me = backend.me = await self._call("getMe")
        backend.bot_identifier = self.person(me)
        stored = self._seen.position or await self._seen.load()
        if stored is None or stored["bot"] != me["id"]:
            # What was written before may have run.
            self._oldest = int(self._context.now())
            self._seen.position = {"bot": me["id"], "next": 0, "at": 0.0}
        await backend.load_rooms()
        await (self._serve if backend.client.webhook else self._poll)()

    async def _poll(self) -> None:
        state, wait = self._context.state, 0
        if await state.get("webhook"):
            await self._call("deleteWebhook")
            await state.set("webhook", None)
        while True:
            at = self._seen.position
            offset = at["next"] if self._context.now() - at["at"] < _VALID else None
            fields: Any = {"offset": offset, "timeout": wait, "allowed_updates": list(_HANDLERS)}
            await self._receive(await self._call("getUpdates", wait + PATIENCE, **fields))
            wait = POLL
            self._backend.connection.connected()

    async def _serve(self) -> None:
        state, url, network = self._context.state, self._backend.client.webhook, self._backend.network
        if not self._secret:
            secret = await state.get("secret") or token_urlsafe(32)
            await state.set("secret", secret)
            masker.learn(self, "secret", [secret])
            self._context.route(urlsplit(url).path, self._posted, "telegram", [secret.encode()])
            self._secret = secret
        await state.set("webhook", url)
        more: Any = {"secret_token": self._secret, "allowed_updates": list(_HANDLERS), "max_connections": 1}
        await self._call("setWebhook", url=url, **more)
        self._backend.connection.connected()
        failed_at = self._context.now()
        while True:
            await deferLater(self._context.reactor, CHECKED)
            found = await self._call("getWebhookInfo")
            if found["url"] != url:
                raise Unusable("another program has told Telegram to post the messages of the bot elsewhere")
            if found.get("last_error_date", 0) > failed_at:
                failed_at, reason = found["last_error_date"], one_line(found.get("last_error_message"))
                text = f"Telegram can't post messages of {network} to the bot: {reason}"
                self._context.notify(("webhook", network), text, interval=86400.0)

    def _posted(self, request: Any) -> Any:
        return self._receive([json.loads(request.get_data())])

    async def _receive(self, updates: list[JSON]) -> None:
        if not updates:
            return
        bot = self._backend.me["id"]
        new = [one for one in updates if self._seen.is_new(f"{bot}:{one['update_id']}")]
        following = max(one["update_id"] for one in updates) + 1
        self._seen.position = {"bot": bot, "next": following, "at": self._context.now()}
        try:
            # Before they are handled: no command runs again if the process is killed.
            await self._seen.flush()
        finally:
            # Also if the session is ended meanwhile: nothing reads it again.
            for kind, found in ((kind, found) for one in new for kind, found in one.items() if kind in _HANDLERS):
                try:
                    _HANDLERS[kind](self, self._backend.events, found)
                except Exception:
                    self._backend.log.failure(
                        "An update of {network} could not be handled", network=self._backend.network
                    )

    # Each kind of update

    def _message(self, events: BackendEvents, found: JSON, edited: bool = False) -> None:
        backend, chat, sender = self._backend, found["chat"], found.get("from", {})
        is_private = chat["type"] == "private"
        if "migrate_to_chat_id" in found:
            backend.became(str(chat["id"]), str(found["migrate_to_chat_id"]))
        elif not is_private:
            backend.note(str(chat["id"]), True, one_line(chat["title"]))
        text, files = found.get("text") or found.get("caption") or "", [kind for kind in _FILES if found.get(kind)]
        if not (text or files) or sender.get("id") in (None, backend.me["id"]):
            return
        ref, extras = self.ref(found, str(sender["id"])), {"message_id": found["message_id"]}
        # A notice runs no command. What anonymous administrators write has a bot as sender, too. Others have written what is
        # forwarded, and another bot what is sent "via" it.
        is_notice = (sender["is_bot"] and "sender_chat" not in found) or "forward_origin" in found or "via_bot" in found
        body = sanitize(text)
        if command := _COMMAND.match(body):
            is_notice |= (command[2] or backend.me["username"]).lower() != backend.me["username"].lower()
            body = body if is_notice else f"{backend.config.BOT_PREFIX}{command[1]}{body[command.end() :]}"
        if is_notice:
            extras["notice"] = True
        message = backend.build_message(body, frm=self.person(sender, chat), extras=extras)
        message.to = backend.bot_identifier if is_private else backend.room(ref.room)
        message.ref, message.thread, message.sent_at, message.edited = ref, ref.thread, float(found["date"]), edited
        message.delayed = message.sent_at < max(self._oldest, self._context.now() - LATE)
        message.attachments = [self._file(kind, found[kind]) for kind in files]
        (events.message_edited if edited else events.message_received)(backend, message)
        mentioned = [one["user"] for one in found.get("entities", ()) if one["type"] == "text_mention"]
        if mentioned and not edited:
            events.mention_received(backend, message, [self.person(user) for user in mentioned])

    def _file(self, kind: str, found: Any) -> Attachment:
        if kind == "photo":
            found = {"file_name": "photo.jpg", "mime_type": "image/jpeg", **found[-1]}  # the largest one
        name, fetch = one_line(found.get("file_name")) or kind, partial(self._backend.client.fetch, found["file_id"])
        return Attachment(name, one_line(found.get("mime_type")), found.get("file_size", 0), fetch)

    def _member(self, events: BackendEvents, found: JSON) -> None:
        backend, chat, member = self._backend, found["chat"], found["new_chat_member"]
        if chat["type"] == "private":
            return
        room, who, by = backend.room(str(chat["id"])), self.person(backend.me, chat), self.person(found["from"], chat)
        was_in, is_in = room.exists, backend.is_inside(member)
        backend.note(str(room), is_in, one_line(chat["title"]) if is_in else f"removed by {by.nick}")
        if is_in != was_in:
            (events.room_joined if is_in else events.room_left)(backend, room, who, by)

    def _reaction(self, events: BackendEvents, found: JSON) -> None:
        if "user" not in found:
            # An anonymous administrator.
            return
        ref, person = self.ref(found), self.person(found["user"])
        owner = self.known.get((ref.room, ref.id), ("", ""))[0]
        to = self._backend.build_identifier(owner) if owner else None
        old, new = ([one.get("emoji") for one in found[name]] for name in ("old_reaction", "new_reaction"))
        for action, some, others in ((REACTION_ADDED, new, old), (REACTION_REMOVED, old, new)):
            for emoji in (one for one in some if one and one not in others):
                made = Reaction(person, to, action, str(found["date"]), emoji, ref._asdict())
                events.reaction_changed(self._backend, made)

    def _pressed(self, events: BackendEvents, found: JSON) -> None:
        refusal = "This button has no effect."
        try:
            if "message" in found and found.get("data", "").isdecimal():
                by = self.person(found["from"], found["message"]["chat"])
                refusal = events.choice_made(self._backend, Press(self.ref(found["message"]), by, int(found["data"])))
        finally:
            shown: Any = {"text": refusal[:200], "show_alert": True} if refusal else {}
            done = Deferred.fromCoroutine(self._call("answerCallbackQuery", callback_query_id=found["id"], **shown))
            done.addErrback(
                lambda failure: self._backend.log.info("A press is unanswered: {reason}", reason=str(failure.value))
            )

    def person(self, user: JSON, chat: JSON | None = None) -> TelegramPerson:
        names: Any = [one_line(user.get(name)) or None for name in ("first_name", "last_name", "username")]
        found = TelegramPerson(user["id"], *names)
        found.network = self._backend.network
        self.names[found.person] = found.nick or found.person
        if chat is None or chat["type"] == "private":
            return found
        return TelegramOccupant(user["id"], self._backend.room(str(chat["id"])), *names)

    def ref(self, found: JSON, sender: str = "") -> MessageRef:
        room, number, replied = str(found["chat"]["id"]), str(found["message_id"]), found.get("reply_to_message", {})
        thread = self.known.get((room, number), ("", ""))[1]
        if found.get("is_topic_message"):
            thread = f"{TOPIC}{found['message_thread_id']}"
        elif replied:
            first = str(found.get("message_thread_id") or replied["message_id"])
            thread = self.known.get((room, first), ("", ""))[1] or first
        if sender:
            self.known[room, number] = sender, thread
        return MessageRef(self._backend.network, room, number, thread)


_HANDLERS: Mapping[str, Any] = {
    "message": TelegramUpdates._message,
    "edited_message": partial(TelegramUpdates._message, edited=True),
    "message_reaction": TelegramUpdates._reaction,
    "callback_query": TelegramUpdates._pressed,
    "my_chat_member": TelegramUpdates._member,
}
