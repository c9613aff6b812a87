"""The methods of the Bot API, what its errors mean, and what `errklein network` does with them."""

from __future__ import annotations

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
from errklein.text.masking import masker

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
        """Return the content of a file."""
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
    """Return who the bot is, and what it lacks; see `Network.check`."""
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
