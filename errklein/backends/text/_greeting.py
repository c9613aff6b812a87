"""Greeting, hints and farewell on the operator's terminal."""

from __future__ import annotations

from collections.abc import Sequence

from errklein._version import __version__
from errklein.commands import command_hint
from errklein.ports.chat import BotOverview
from errklein.text import sanitize


def greeting(name: str, overview: BotOverview) -> str:
    """Return the lines above the first prompt, with ANSI sequences. `name` is the bot's."""
    prefix = overview.prefix
    no_webhooks = f"none; start with --web tcp:3141:interface=127.0.0.1, or use {prefix}plugin config Webserver"
    rows = {
        "Webhooks": ", ".join(overview.addresses) or no_webhooks,
        "Log": overview.log_file,
        "Commands": f"{prefix}help lists them, Tab completes them",
        "Stop": "Ctrl-C; Ctrl-D ends only this conversation" if overview.remaining() else "Ctrl-C or Ctrl-D",
    }
    lines = [f"  \x1b[2m{label:<10}\x1b[22m{sanitize(text)}" for label, text in rows.items() if text]
    return "\n".join([f"\x1b[1merrklein {__version__}\x1b[22m: {sanitize(name)} is ready", *lines, ""])


def hint(text: str, overview: BotOverview) -> str | None:
    """Return the reply to `help`, `quit` or `exit` without a prefix, in Markdown; None for any other text."""
    match text.strip().lower():
        case "help":
            return command_hint(overview.prefix)
        case "quit" | "exit":
            remaining = overview.remaining()
            if not remaining:
                return "Ctrl-C or Ctrl-D stops the bot."
            return f"Ctrl-C stops the bot. Ctrl-D ends the conversation; the bot continues with {_listed(remaining)}."
    return None


def farewell(remaining: Sequence[str]) -> str:
    """Return the line after Ctrl-D. `remaining` is what keeps the bot running."""
    if remaining:
        return f"The conversation has ended; the bot continues with {_listed(remaining)}. Ctrl-C stops it."
    return "The conversation has ended, and the bot stops."


def _listed(names: Sequence[str]) -> str:
    *others, last = names
    return sanitize(f"{', '.join(others)} and {last}" if others else last)
