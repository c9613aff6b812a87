"""The double of Telegram's Bot API, which checks each call and its own answers with the published types, and refuses in Telegram's words."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import HTTP
from html import unescape
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import TestCase

from tests.networks.double import Answer, Call, Double

TYPES: Mapping[str, Any] = json.loads(Path(__file__).with_name("types.json").read_text(encoding="utf-8"))

RESULTS = {
    "getMe": "User",
    "getUpdates": "Array<checked before>",
    "getWebhookInfo": "WebhookInfo",
    "getFile": "File",
    "getChat": "ChatFullInfo",
    "getChatMember": "ChatMember",
    "getMyCommands": "Array<BotCommand>",
    **dict.fromkeys(("sendMessage", "sendDocument", "sendPhoto", "editMessageText"), "Message"),
}
"""The types of results, apart from true."""

TOKEN = "5000000001:AAH-the_token_of_the_double_5000000001"
BOT = 5000000001
ALICE, BOB = 1001, 1002
GROUP, OTHER, UNKNOWN = -1009001, -1009002, -1009999
"""Supergroups: that of the bot, one that it is in, too, and none."""

_TAG = re.compile(r"<(/?)([a-z]+)((?: [a-z]+=\"[^\"<>]*\")?)>")
_TAGS = frozenset(["a", "b", "blockquote", "code", "del", "em", "i", "pre", "s", "strong", "u"])
_ENTITY = re.compile(r"&(?:lt|gt|amp|quot|#[0-9]+|#x[0-9a-f]+);")


def problem_of(kind: str, value: Any, where: str) -> str:
    """Return what is wrong with a value of a type; "" for nothing."""
    kind = kind.strip()
    if " | " in kind and not kind.startswith("Array<"):
        problems = [problem_of(one, value, where) for one in kind.split(" | ")]
        return "" if "" in problems else min(problems, key=len)
    simple = {"number": (int, float), "string": str, "boolean": bool}
    if kind in simple:
        is_right = isinstance(value, simple[kind]) and (kind == "boolean" or not isinstance(value, bool))
        return "" if is_right else f"{where}: {value!r} is no {kind}"
    if kind.startswith("Array<"):
        if not isinstance(value, list):
            return f"{where}: {value!r} is no array"
        return next(filter(None, (problem_of(kind[6:-1], one, f"{where}[]") for one in value)), "")
    if kind in ("true", "false") or kind[0] == "'":
        return "" if value == (kind == "true" if kind[0] != "'" else kind[1:-1]) else f"{where}: {value!r} isn't {kind}"
    fields = TYPES.get(kind)
    if isinstance(fields, str):
        return problem_of(fields, value, where)
    if fields is None or (kind == "InputFile" and isinstance(value, dict)):
        return ""
    if not isinstance(value, dict):
        return f"{where}: {value!r} is no {kind}"
    return problem_of_fields(fields, value, f"{where} ({kind})")


def problem_of_fields(fields: Mapping[str, str], value: Mapping[str, Any], where: str) -> str:
    """Return what is wrong with an object: missing, unknown or wrong fields."""
    kinds = {name.rstrip("?"): kind for name, kind in fields.items()}
    if unknown := value.keys() - kinds:
        return f"{where}: unknown fields {sorted(unknown)}"
    if missing := [name for name in fields if not name.endswith("?") and name not in value]:
        return f"{where}: missing {missing}"
    return next(filter(None, (problem_of(kinds[name], one, f"{where}.{name}") for name, one in value.items())), "")


def labels(message: Mapping[str, Any]) -> list[str]:
    """Return the texts of the buttons of a message."""
    rows = message.get("reply_markup", {}).get("inline_keyboard", ())
    return [button["text"] for row in rows for button in row]


def refusal(status: int, text: str, **parameters: Any) -> Answer:
    """Return an error of Telegram."""
    more = {"parameters": parameters} if parameters else {}
    return Answer(status, {"ok": False, "error_code": status, "description": text, **more})


def parsed(html: str) -> tuple[str, list[dict[str, Any]]]:
    """Return the text and the entities of HTML; raise what Telegram answers to what it doesn't take."""
    text, entities, open_tags, at = "", list[dict[str, Any]](), list[tuple[str, int, str]](), 0

    def add(more: str) -> None:
        nonlocal text
        if "<" in more or ">" in more or "&" in _ENTITY.sub("", more):
            raise refusal(400, f"Bad Request: can't parse entities: {more!r}")
        text += unescape(more)

    for tag in _TAG.finditer(html):
        add(html[at : tag.start()])
        at, name, here = tag.end(), tag[2], len(text.encode("utf-16-le")) // 2
        if name not in _TAGS:
            raise refusal(400, f'Bad Request: can\'t parse entities: Unsupported start tag "{name}"')
        if not tag[1]:
            open_tags.append((name, here, unescape(tag[3])))
            continue
        if not open_tags or open_tags[-1][0] != name:
            raise refusal(400, "Bad Request: can't parse entities: unmatched end tag")
        _, start, given = open_tags.pop()
        made: dict[str, Any] = {"type": name, "offset": start, "length": here - start}
        if person := re.search(r"tg://user\?id=(\d+)", given):
            made |= {"type": "text_mention", "user": {"id": int(person[1]), "is_bot": False, "first_name": "?"}}
        entities.append(made)
    add(html[at:])
    if open_tags:
        raise refusal(400, "Bad Request: can't parse entities: can't find end tag")
    return text.strip(), entities


@dataclass
class FakeChat:
    """A conversation, with its messages as they are now."""

    id: int
    type: str
    title: str = ""
    members: dict[int, str] = field(default_factory=dict)
    messages: dict[int, dict[str, Any]] = field(default_factory=dict)
    description: str = ""
    moved_to: int = 0
    is_forum: bool = False

    @property
    def json(self) -> dict[str, Any]:
        """What messages have of it."""
        if self.type == "private":
            return {"id": self.id, "type": "private", "first_name": self.title}
        return {"id": self.id, "type": self.type, "title": self.title, **({"is_forum": True} if self.is_forum else {})}


class FakeTelegram(Double):
    """Telegram in memory, with one bot; it also survives `stop` and `start`.

    :param now: Returns the Unix time of messages.
    """

    def __init__(self, reactor: Any, now: Callable[[], float]) -> None:
        super().__init__(reactor)
        self.now, self.token = now, TOKEN
        self.reads_all = True
        self.users: dict[int, dict[str, Any]] = {}
        self.chats: dict[int, FakeChat] = {}
        self.updates: list[dict[str, Any]] = []
        self.made: list[dict[str, Any]] = []
        """All updates that there were."""
        self.next_update = 100
        self.webhook: dict[str, Any] = {}
        self.webhook_error = ""
        self.post: Callable[[str, bytes, Mapping[str, str]], Deferred[int]] = lambda url, body, headers: succeed(500)
        """Posts an update to the webhook, and returns the status."""
        self.limits: dict[int, int] = {}
        """Seconds for which calls for chats are refused."""
        self.commands: dict[str, list[dict[str, str]]] = {}
        self.files: dict[str, bytes] = {}
        self.answers: list[dict[str, Any]] = []
        """The answers to presses."""
        self.reactions: dict[tuple[int, int], list[dict[str, Any]]] = {}
        self.allowed: list[str] = []
        self._numbers = count(5000)
        self._waiting: Deferred[Any] | None = None
        self._is_posting = False
        for id, name in ((ALICE, "alice"), (BOB, "bob"), (BOT, "errklein_bot")):
            self.users[id] = {"id": id, "is_bot": id == BOT, "first_name": name.title(), "username": name}
        for id, title in ((GROUP, "Ops"), (OTHER, "Dev")):
            self.chats[id] = FakeChat(id, "supergroup", title, {ALICE: "creator", BOB: "member", BOT: "administrator"})

    # What people do

    def begin(self, user: int) -> FakeChat:
        """Let a person open the private conversation with the bot."""
        return self.chats.setdefault(user, FakeChat(user, "private", self.users[user]["first_name"]))

    def say(self, chat: int, text: str, by: int = ALICE, reply_to: int = 0, topic: int = 0, **fields: Any) -> int:
        """Let a person write, and return the number of the message."""
        if chat > 0:
            self.begin(chat)
        content = {"text": text, **fields} if text else fields
        message = self.make(self.chats[chat], by, content, reply_to, topic)
        self.report("message", message)
        return int(message["message_id"])

    def attach(self, chat: int, name: str, content: bytes, by: int = ALICE, kind: str = "document") -> int:
        """Let a person send a file."""
        self.files[f"F{name}"] = content
        file = {"file_id": f"F{name}", "file_unique_id": "u", "file_size": len(content)}
        made: Any = {**file, "file_name": name, "mime_type": "application/octet-stream"}
        if kind == "photo":
            made = [{**file, "file_id": "Fsmall", "width": 9, "height": 9}, {**file, "width": 90, "height": 90}]
        return self.say(chat, "", by, **{kind: made})

    def edit(self, chat: int, id: int, text: str) -> None:
        """Let the author of a message edit it."""
        message = self.chats[chat].messages[id]
        message |= {"text": text, "edit_date": int(self.now())}
        self.report("edited_message", message)

    def react(self, chat: int, id: int, *emoji: str, by: int = ALICE) -> None:
        """Let a person have these reactions to a message."""
        old = self.reactions.get((chat, id), [])
        new = self.reactions[chat, id] = [{"type": "emoji", "emoji": one} for one in emoji]
        place = {"chat": self.chats[chat].json, "message_id": id, "user": self.users[by], "date": int(self.now())}
        self.report("message_reaction", {**place, "old_reaction": old, "new_reaction": new})

    def press(self, chat: int, id: int, data: str, by: int = ALICE) -> None:
        """Let a person press a button."""
        query = {"id": f"q{next(self._numbers)}", "from": self.users[by], "chat_instance": "c", "data": data}
        self.report("callback_query", {**query, "message": self.chats[chat].messages[id]})

    def set_member(self, chat: int, status: str, by: int = ALICE) -> None:
        """Let a person change what the bot is in a group."""
        found = self.chats[chat]
        old, found.members[BOT] = found.members.get(BOT, "left"), status
        base = {"chat": found.json, "from": self.users[by], "date": int(self.now())}
        self.report(
            "my_chat_member", {**base, "old_chat_member": self._member(old), "new_chat_member": self._member(status)}
        )

    def migrate(self, old: int, new: int) -> None:
        """Let a group become a supergroup."""
        before = self.chats[old]
        self.chats[new] = FakeChat(new, "supergroup", before.title, dict(before.members))
        before.moved_to = new
        self.report("message", self.make(before, ALICE, {"migrate_to_chat_id": new}))
        self.report("message", self.make(self.chats[new], ALICE, {"migrate_from_chat_id": old}))

    def revoke(self) -> None:
        """Let @BotFather give the bot another token."""
        self.token = TOKEN[:-1] + "2"
        self._answer_poll(refusal(401, "Unauthorized"))

    def own(self, chat: int) -> list[dict[str, Any]]:
        """Return the messages of the bot in a chat, as they are now."""
        found = self.chats.get(chat)
        return [one for one in found.messages.values() if one["from"]["id"] == BOT] if found else []

    def texts(self, chat: int) -> list[str]:
        """Return the texts of the bot's messages."""
        return [one.get("text", "") for one in self.own(chat)]

    def is_member(self, chat: int) -> bool:
        """Return whether the bot is in a group."""
        return self.chats[chat].members.get(BOT, "left") not in ("left", "kicked")

    def make(self, chat: FakeChat, by: int, content: Any, reply_to: int = 0, topic: int = 0) -> dict[str, Any]:
        """Add a message to a chat."""
        # Supergroups count their messages; all others share a number of the bot.
        id = len(chat.messages) + 1 if chat.type == "supergroup" else next(self._numbers)
        message = {"message_id": id, "date": int(self.now()), "chat": chat.json, "from": self.users[by], **content}
        if topic:
            message |= {"message_thread_id": topic, "is_topic_message": True}
        if reply_to in chat.messages:
            replied = chat.messages[reply_to]
            message["reply_to_message"] = {name: one for name, one in replied.items() if name != "reply_to_message"}
            if chat.type == "supergroup" and not topic:
                message["message_thread_id"] = replied.get("message_thread_id", reply_to)
        chat.messages[id] = message
        return message

    def report(self, kind: str, content: Any) -> None:
        """Queue an update."""
        update = {"update_id": self.next_update, kind: json.loads(json.dumps(content))}
        assert not (problem := problem_of("Update", update, "update")), problem
        if not self.allowed or kind in self.allowed:
            self.next_update += 1
            self.updates.append(update)
            self.made.append(update)
            self._answer_poll()
            self._deliver()

    # The server

    def answer(self, call: Call) -> Any:
        """Call a method."""
        path = unquote(call.path)
        if path.startswith("/file/bot"):
            token, _, name = path.removeprefix("/file/bot").partition("/")
            if token != self.token or name not in self.files:
                raise refusal(404, "Not Found")
            return Answer(200, self.files[name])
        token, _, method = path.removeprefix("/bot").partition("/")
        if not re.fullmatch(r"\d+:[\w-]{30,}", token):
            raise refusal(404, "Not Found")
        if token != self.token:
            raise refusal(401, "Unauthorized")
        fields = self._fields(method, call)
        if problem := problem_of_fields(TYPES[method], fields, method):
            # No real answer: it is a defect of the client.
            raise AssertionError(problem)
        if "chat_id" in fields:
            if seconds := self.limits.get(fields["chat_id"]):
                raise refusal(429, f"Too Many Requests: retry after {seconds}", retry_after=seconds)
            fields["chat"] = self._chat(method, fields.pop("chat_id"))
        result = getattr(self, f"do_{method}")(**fields)
        if isinstance(result, Deferred):
            return result
        if problem := problem_of(RESULTS.get(method, "boolean"), result, method):
            raise AssertionError(f"the answer of the double: {problem}")
        return {"ok": True, "result": result}

    def _fields(self, method: str, call: Call) -> dict[str, Any]:
        """Return the fields of a call as JSON, in a form, or with a file."""
        kind = call.headers.get("content-type", "")
        if not kind.startswith(("multipart/", "application/x-www-form-urlencoded")):
            return dict(call.json or {})
        given: list[tuple[str, Any]] = list(parse_qsl(call.body.decode(errors="replace"), keep_blank_values=True))
        if kind.startswith("multipart/"):
            head = f"Content-Type: {kind}\r\n\r\n".encode()
            parts: Any = BytesParser(policy=HTTP).parsebytes(head + call.body).iter_parts()
            given = [(part.get_param("name", header="content-disposition"), part) for part in parts]
        fields: dict[str, Any] = {}
        for name, value in given:
            if not isinstance(value, str):
                content = value.get_payload(decode=True)
                if (file := value.get_filename()) is not None:
                    fields[name] = {"name": file, "type": value.get_content_type(), "content": content}
                    continue
                value = content.decode().removesuffix("\r\n")
            types = str(TYPES[method].get(name) or TYPES[method].get(f"{name}?")).split(" | ")
            is_text = {"string", "ParseMode"}.intersection(types) and "number" not in types
            fields[name] = value if is_text else json.loads(value)
        # Clients name files by their own keys.
        for name, value in list(fields.items()):
            if isinstance(value, str) and value.startswith("attach://"):
                fields[name] = fields.pop(value.removeprefix("attach://"))
        return fields

    def _chat(self, method: str, id: int) -> FakeChat:
        chat = self.chats.get(id)
        if chat is None:
            raise refusal(400, "Bad Request: chat not found")
        if chat.moved_to:
            text = "Bad Request: group chat was upgraded to a supergroup chat"
            raise refusal(400, text, migrate_to_chat_id=chat.moved_to)
        status = chat.members.get(BOT, "left")
        if chat.type != "private" and status in ("left", "kicked") and method != "getChatMember":
            how = "was kicked from" if status == "kicked" else "is not a member of"
            raise refusal(403, f"Forbidden: bot {how} the {chat.type} chat")
        return chat

    def _member(self, status: str) -> dict[str, Any]:
        more: dict[str, Any] = {"kicked": {"until_date": 0}}.get(status, {})
        if status == "administrator":
            kinds = TYPES["ChatMemberAdministrator"].items()
            rights = [name for name, kind in kinds if kind == "boolean" and not name.endswith("?")]
            more = dict.fromkeys(rights, True)
        return {"status": status, "user": self.users[BOT], **more}

    def _answer_poll(self, answer: Any = None) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(answer or {"ok": True, "result": self.updates[:100]})

    def _deliver(self) -> None:
        """Post the updates to the webhook, one after the other, and again what isn't answered with success."""
        if self._is_posting or not self.webhook or not self.updates:
            return
        self._is_posting = True
        headers = {"X-Telegram-Bot-Api-Secret-Token": self.webhook["secret_token"], "Content-Type": "application/json"}

        def posted(status: Any) -> None:
            self._is_posting = False
            if status == 200:
                self.updates.pop(0)
                self._deliver()
            else:
                self.webhook_error = f"Wrong response from the webhook: {status}"

        self.post(self.webhook["url"], json.dumps(self.updates[0]).encode(), headers).addBoth(posted)

    # Methods

    def do_getMe(self) -> Any:
        """Return the bot."""
        more = {
            "can_join_groups": True,
            "can_read_all_group_messages": self.reads_all,
            "supports_inline_queries": False,
        }
        return {**self.users[BOT], **more}

    def do_getUpdates(self, allowed_updates: list[str], timeout: int = 0, offset: int = 0) -> Any:
        """Return updates, confirm those before the offset, and end the request of another reader."""
        if self.webhook:
            text = "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first"
            raise refusal(409, text)
        text = "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running"
        self._answer_poll(refusal(409, text))
        self.allowed = allowed_updates
        self.updates = [one for one in self.updates if one["update_id"] >= offset]
        if self.updates or not timeout:
            return self.updates[:100]
        waiting = self._waiting = Deferred()

        def over() -> None:
            if self._waiting is waiting:
                self._answer_poll()

        self._timers.add(self.reactor.callLater(timeout, over))
        return waiting

    def do_setWebhook(self, url: str, allowed_updates: list[str], **fields: Any) -> Any:
        """Post updates from now on."""
        self.webhook, self.allowed = {"url": url, **fields}, allowed_updates
        self._answer_poll(refusal(409, "Conflict: terminated by setWebhook request"))
        self._deliver()
        return True

    def do_deleteWebhook(self) -> Any:
        """Don't post any more."""
        self.webhook = {}
        return True

    def do_getWebhookInfo(self) -> Any:
        """Return the webhook."""
        failed = {"last_error_date": int(self.now()) + 1, "last_error_message": self.webhook_error}
        info = {"url": self.webhook.get("url", ""), "has_custom_certificate": False}
        return {**info, "pending_update_count": len(self.updates), **(failed if self.webhook_error else {})}

    def do_sendMessage(self, chat: FakeChat, text: str, parse_mode: str = "", **fields: Any) -> Any:
        """Add a message of the bot."""
        shown, entities = parsed(text) if parse_mode == "HTML" else (text, [])
        self._check(shown)
        keyboard = {name: fields[name] for name in ("reply_markup",) if name in fields}
        for button in (one for row in keyboard.get("reply_markup", {}).get("inline_keyboard", ()) for one in row):
            assert button["text"] and 1 <= len(button["callback_data"].encode()) <= 64
        return self._sent(chat, {"text": shown, "entities": entities, "html": text, **keyboard}, **fields)

    def do_sendDocument(self, chat: FakeChat, document: Any, **fields: Any) -> Any:
        """Add a message with a file."""
        return self._sent(chat, {"document": self._file(document)}, **fields)

    def do_sendPhoto(self, chat: FakeChat, photo: Any, **fields: Any) -> Any:
        """Add a message with a photo."""
        if not photo["content"].startswith(b"\x89PNG"):
            raise refusal(400, "Bad Request: PHOTO_INVALID_DIMENSIONS")
        file = {
            name: one for name, one in self._file(photo).items() if name.startswith("file_") and name != "file_name"
        }
        return self._sent(chat, {"photo": [{**file, "width": 9, "height": 9}]}, **fields)

    def _file(self, given: Any) -> dict[str, Any]:
        id = f"F{next(self._numbers)}"
        self.files[id] = given["content"]
        file = {"file_id": id, "file_unique_id": id, "file_size": len(given["content"])}
        return {**file, "file_name": given["name"], "mime_type": given["type"]}

    def _check(self, shown: str) -> None:
        if not shown:
            raise refusal(400, "Bad Request: message text is empty")
        if len(shown.encode("utf-16-le")) // 2 > 4096:
            raise refusal(400, "Bad Request: message is too long")

    def _sent(self, chat: FakeChat, content: Any, **fields: Any) -> Any:
        topic, reply = fields.get("message_thread_id", 0), fields.get("reply_parameters", {})
        if topic and not chat.is_forum:
            raise refusal(400, "Bad Request: message thread not found")
        if reply and reply["message_id"] not in chat.messages and not reply.get("allow_sending_without_reply"):
            raise refusal(400, "Bad Request: message to be replied not found")
        return _shown(self.make(chat, BOT, content, reply.get("message_id", 0), topic))

    def _own(self, chat: FakeChat, id: int, what: str) -> dict[str, Any]:
        message = chat.messages.get(id)
        if message is None:
            raise refusal(400, f"Bad Request: message to {what} not found")
        if message["from"]["id"] != BOT:
            raise refusal(400, f"Bad Request: message can't be {what}ed")
        return message

    def do_editMessageText(self, chat: FakeChat, message_id: int, text: str, parse_mode: str = "") -> Any:
        """Replace the text of a message of the bot, and remove its buttons."""
        message, (shown, entities) = self._own(chat, message_id, "edit"), parsed(text)
        self._check(shown)
        if (message.get("text"), "reply_markup" in message) == (shown, False):
            raise refusal(400, "Bad Request: message is not modified: specified new message content is the same")
        message.pop("reply_markup", None)
        message |= {"text": shown, "entities": entities, "html": text, "edit_date": int(self.now())}
        return _shown(message)

    def do_deleteMessage(self, chat: FakeChat, message_id: int) -> Any:
        """Remove a message of the bot."""
        self._own(chat, message_id, "delete")["from"] = {"id": 0}
        return True

    def do_setMessageReaction(self, chat: FakeChat, message_id: int, reaction: list[dict[str, Any]]) -> Any:
        """Set the reaction of the bot."""
        if len(reaction) > 1 or any(one["emoji"] not in TYPES["emoji"] for one in reaction):
            raise refusal(400, "Bad Request: REACTION_INVALID")
        if message_id not in chat.messages:
            raise refusal(400, "Bad Request: message to react not found")
        chat.messages[message_id]["own_reaction"] = [one["emoji"] for one in reaction]
        return True

    def do_getFile(self, file_id: str) -> Any:
        """Return where a file is."""
        if len(self.files[file_id]) > 20_000_000:
            raise refusal(400, "Bad Request: file is too big")
        return {"file_id": file_id, "file_unique_id": "u", "file_path": file_id}

    def do_getChat(self, chat: FakeChat) -> Any:
        """Return a chat."""
        more = {"description": chat.description} if chat.description else {}
        gifts = dict.fromkeys((name for name in TYPES.get("AcceptedGiftTypes", {})), True)
        return {**chat.json, **more, "accent_color_id": 1, "max_reaction_count": 11, "accepted_gift_types": gifts}

    def do_getChatMember(self, chat: FakeChat, user_id: int) -> Any:
        """Return what the bot is in a chat."""
        return self._member(chat.members.get(user_id, "left"))

    def do_leaveChat(self, chat: FakeChat) -> Any:
        """Let the bot leave."""
        self.set_member(chat.id, "left", BOT)
        return True

    def do_setChatDescription(self, chat: FakeChat, description: str) -> Any:
        """Set the description."""
        chat.description = description
        return True

    def do_answerCallbackQuery(self, **fields: Any) -> Any:
        """Note the answer to a press."""
        self.answers.append(fields)
        return True

    def do_getMyCommands(self, scope: dict[str, str]) -> Any:
        """Return a list of commands."""
        return self.commands.get(scope["type"], [])

    def do_setMyCommands(self, commands: list[dict[str, str]], scope: dict[str, str]) -> Any:
        """Set a list of commands."""
        if len(commands) > 100 or not all(re.fullmatch("[a-z0-9_]{1,32}", one["command"]) for one in commands):
            raise refusal(400, "Bad Request: BOT_COMMAND_INVALID")
        if not all(1 <= len(one["description"]) <= 256 for one in commands):
            raise refusal(400, "Bad Request: BOT_COMMAND_DESCRIPTION_INVALID")
        self.commands[scope["type"]] = commands
        return True


def _shown(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message of the bot as Telegram shows it."""
    found = {name: one for name, one in message.items() if name not in ("html", "own_reaction")}
    return {
        **found,
        "entities": [{**one, "type": _KINDS.get(one["type"], one["type"])} for one in found.get("entities", ())],
    }


_KINDS = {"a": "text_link", "b": "bold", "strong": "bold", "em": "italic", "i": "italic", "del": "strikethrough"} | {
    "s": "strikethrough",
    "u": "underline",
}


def started(case: TestCase, reactor: Any, now: Callable[[], float]) -> FakeTelegram:
    """Return a double that listens until the end of the test, which fails if the double has found a wrong call."""
    server = FakeTelegram(reactor, now)
    server.start()

    async def stop() -> None:
        await server.stop()
        case.assertEqual([failure.getErrorMessage() for failure in server.unexpected], [])

    case.addCleanup(lambda: Deferred.fromCoroutine(stop()))
    return server
