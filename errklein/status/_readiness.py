"""Whether the bot can do its work, in parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from errklein.bot import Bot
from errklein.ports import QueuesMessages

LONGEST_WAIT = 300.0
"""The seconds that a message may wait in an outbox."""

INTAKE = ("phase", "journal", "storage", "listeners")
"""The parts without which webhooks aren't accepted.

An absent network isn't one of them: what handlers send waits for it. Nor is a broken plugin: the webhooks of others are accepted.
"""

FULL = 0.95
"""The part of OUTBOX_LIMIT and OUTBOX_SIZE from which on an outbox is full, since many messages don't fit any more."""


def problems(bot: Bot, endpoints: Sequence[str]) -> Mapping[str, str]:
    """Return the problem of each part of the bot in one line; "" if the part works.

    :param endpoints: The endpoints of the web server that should be open.
    """
    return {
        "phase": "" if bot.phase == "running" else f"the bot is {bot.phase}",
        "networks": _networks(bot),
        **bot.health.problems,
        "outbox": _outbox(bot),
        "listeners": _listeners(bot, endpoints),
        "plugins": _plugins(bot),
    }


def _plugins(bot: Bot) -> str:
    named = {webhook.rpartition(":")[0] for webhook in bot.bot_config.WEBHOOKS}
    broken = [one.name for one in bot.plugin_manager.found if one.name in named and one.problem and not one.active]
    return f"broken, but named in WEBHOOKS: {', '.join(broken)}" if broken else ""


def _networks(bot: Bot) -> str:
    absent = [name for name, state in bot.events.states.items() if state.connected_at is None and not state.ended]
    return f"not connected: {', '.join(absent)}" if absent else ""


def _outbox(bot: Bot) -> str:
    found = []
    for name, backend in bot.backends.items():
        if isinstance(backend, QueuesMessages):
            waiting, config = backend.outbox_status, bot.bot_config.networks[name]
            if waiting.parts >= FULL * config.OUTBOX_LIMIT or waiting.size >= FULL * config.OUTBOX_SIZE:
                found.append(f"{name}: full, with {waiting.messages} messages")
            elif waiting.oldest_at and (age := bot.now() - waiting.oldest_at) > LONGEST_WAIT:
                found.append(f"{name}: a message has been waiting for {age:.0f} s")
    return "; ".join(found)


def _listeners(bot: Bot, endpoints: Sequence[str]) -> str:
    closed = [endpoint for endpoint in endpoints if not bot.web.listeners.is_open(endpoint)]
    return f"closed: {', '.join(closed)}" if closed else ""
