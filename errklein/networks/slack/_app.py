"""The app on Slack: its scopes and events, a check of them, and its manifest with slash commands."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from errklein.config import ConfigError
from errklein.config.networks import CommandText, NetworkFinding
from errklein.networks._connection import Unusable
from errklein.networks.context import NetworkContext
from errklein.networks.json_client import at, mapping
from errklein.networks.slack import rooms_of
from errklein.networks.slack._client import SlackClient
from errklein.networks.slack._rooms import OPEN

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
    """Return the entries of the manifest: `/errklein` for all commands, and one for each."""
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
