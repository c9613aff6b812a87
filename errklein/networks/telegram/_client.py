"""The methods of the Bot API, what its errors mean, and what `errklein network` does with them; texts in Telegram's HTML
(https://core.telegram.org/bots/api#html-style), and what messages have besides them."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from errklein.config.networks import CommandText, NetworkFinding
from errklein.networks._connection import Unusable
from errklein.networks.context import NetworkContext
from errklein.networks.json_client import TIMEOUT, File, RequestRefused, mapping, one_line
from errklein.networks.outbox import NotConfirmed, RetryLater
from errklein.networks.telegram import SERVER, SETTINGS, rooms_of
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
            answer = await self._http.upload(
                "POST", method, file, {name: json.dumps(one) for name, one in given.items()}
            )
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
