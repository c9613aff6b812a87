"""The check of a connection, and the list of commands that Telegram shows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from errklein.config.networks import CommandText, NetworkFinding
from errklein.networks.context import NetworkContext
from errklein.networks.json_client import RequestRefused, one_line
from errklein.networks.telegram import rooms_of
from errklein.networks.telegram._client import TelegramClient

_MOST = 100  # the number of commands that Telegram takes


async def check(context: NetworkContext) -> Sequence[NetworkFinding]:
    """Return who the bot is, and what it lacks; see `Network.check`."""
    client = TelegramClient(context)
    me: Any = await client.call("getMe")
    found, reads_all = (
        [(f"Telegram accepts the bot as @{me['username']}", False)],
        me.get("can_read_all_group_messages"),
    )
    if not reads_all:
        text = "privacy mode is on: in groups, the bot gets only commands with / and replies to it, unless it is an administrator"
        found.append(
            (f"{text}; change that with /setprivacy of @BotFather, then remove the bot and add it again", False)
        )
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
    if hook["url"] not in ("", client.webhook):
        found.append(("Telegram posts the messages of the bot to another program", True))
    elif hook.get("last_error_message"):
        found.append((f"the last message for the webhook failed: {one_line(hook['last_error_message'])}", True))
    return [NetworkFinding(*one) for one in found]


async def push_commands(context: NetworkContext, commands: Sequence[CommandText], dry: bool) -> Sequence[str]:
    """Add the commands to the lists of Telegram, and remove those that were added before; see `Network.push_commands`."""
    client, pushed = TelegramClient(context), await context.state.get("commands", [])
    texts = {name.lower(): (one_line(text) or one_line(syntax) or name)[:256] for name, text, syntax in commands}
    own = {name: text for name, text in texts.items() if re.fullmatch("[a-z0-9_]{1,32}", name)}
    lines = [
        f"/{name} is left out: Telegram takes 32 letters, digits and underscores" for name in texts if name not in own
    ]
    for scope in ("default", "all_private_chats", "all_group_chats"):
        given: Any = await client.call("getMyCommands", scope={"type": scope})
        if not given and scope != "default":
            # People see the default list.
            continue
        before = {one["command"]: one["description"] for one in given}
        after = {name: text for name, text in before.items() if name in own or name not in pushed}
        lines += [f"{scope}: /{name} is removed" for name in before if name not in after]
        for name, text in own.items():
            if name not in after and len(after) >= _MOST:
                lines.append(f"{scope}: /{name} is left out: Telegram takes {_MOST} commands")
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
