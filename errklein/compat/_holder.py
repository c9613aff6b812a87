"""`errbot.holder`, in which plugins of old find the bot."""

from __future__ import annotations

from typing import Any

bot: Any = None
"""The bot that was started last in this process."""
