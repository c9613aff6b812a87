"""What `errbot.logs` offers, and the logger that `errbot.log` is. Where lines go is twistd's to say."""

from __future__ import annotations

import logging

log = logging.getLogger("errbot")

root_logger = logging.getLogger()

console_hdlr = logging.StreamHandler()
"""Writes to standard error; not among the root logger's handlers before `format_logs`."""


def format_logs(formatter: logging.Formatter | None = None, theme_color: str | None = None) -> None:
    """Have log lines on standard error, in that format; for programs that have no log of their own."""
    console_hdlr.setFormatter(
        formatter or logging.Formatter("%(asctime)s %(levelname)-8s %(name)-25s %(message)s", "%H:%M:%S")
    )
    if not root_logger.handlers:
        root_logger.addHandler(console_hdlr)
