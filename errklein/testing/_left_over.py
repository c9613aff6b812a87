"""The text of `LeftOver`: what a plugin left behind when a test ended, and the remedy."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any


def explain_left_over(left: Sequence[str], waiting: Sequence[str]) -> str:
    """Return the text of the error.

    :param left: What is left, as `describe_call` returns it.
    :param waiting: The handlers that waited when the test ended.
    """
    found = f"left over after the bot has stopped: {', '.join(left)}"
    if waiting:
        handlers, respond = " and ".join(waiting), "it responds" if len(waiting) == 1 else "they respond"
        return f"the test ended while {handlers} waited; call `self.bot.advance(…)` until {respond} ({found})"
    return f"{found}; end them in the plugin's deactivate()"


def describe_call(call: Any) -> str:
    """Return the function of a delayed call, or the callback of an asyncio timer."""
    handle = next(iter(getattr(call, "args", ())), None)
    if not isinstance(handle, asyncio.TimerHandle):
        return f"delayed call of {getattr(call, 'func', call)!r}"
    callback: Any = getattr(handle, "_callback", None)
    if getattr(callback, "__module__", "").startswith(("asyncio", "_asyncio")):
        # The callback of asyncio.sleep and of timeouts is a private function, which says nothing to the reader.
        return "asyncio timer"
    return f"asyncio timer of {callback!r}"
