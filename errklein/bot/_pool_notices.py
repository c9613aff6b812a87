"""Notices to administrators about threads that are all busy, or that can't be started."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from errklein.running import PoolStatus, ThreadUse

_SETTINGS = {
    "commands": "BOT_ASYNC_POOLSIZE",
    "plugins": "BOT_ASYNC_POOLSIZE",
    "webhooks": "WEBHOOK_POOLSIZE",
    "recorded webhooks": "WEBHOOK_POOLSIZE",
}
_MOST_ORIGINS = 5


def pool_notice(status: PoolStatus, prefix: str) -> str:
    """Return the notice about a pool: what holds its threads, and what to do.

    :param prefix: The prefix of commands.
    """
    waiting = sum(status.waiting.values())
    if status.refusal:
        problem = f"The system starts no further thread for {status.name} ({status.refusal})"
        remedy = "raise the limit of processes or memory (LimitNPROC=, TasksMax= or MemoryMax= of systemd)"
    else:
        problem = f"All threads for {status.name} have been busy for {status.full:.0f} s"
        remedy = "make the handlers async def, give what they wait for a timeout, or deactivate the plugin"
        if setting := _SETTINGS.get(status.name):
            remedy += f"; if all of them are needed, raise {setting} (now {status.size})"
    return (
        f"{problem}, and {waiting} jobs wait. {_holders([use for use in status.uses if not use.replaced])}. "
        f"{prefix}status plugins lists what runs. What to do: {remedy}."
    )


def _holders(uses: Sequence[ThreadUse]) -> str:
    """Return who holds how many threads with which methods, those who hold most first."""
    by_origin: defaultdict[str, list[ThreadUse]] = defaultdict(list)
    for use in uses:
        by_origin[use.origin].append(use)
    holders = sorted(by_origin.items(), key=lambda held: -len(held[1]))
    texts = [f"{origin.replace(':', ' ', 1) or 'the bot'} {_methods(held)}" for origin, held in holders[:_MOST_ORIGINS]]
    if len(holders) > _MOST_ORIGINS:
        texts.append(f"{len(holders) - _MOST_ORIGINS} others")
    return f"{len(uses)} threads are held by {', '.join(texts)}"


def _methods(uses: Sequence[ThreadUse]) -> str:
    longest = max(uses, key=lambda use: use.seconds)
    return f"({len(uses)}; {longest.name} for {longest.seconds:.0f} s)"
