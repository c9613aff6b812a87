"""The content of `errbot.logs`, and the logger `errbot.log`. The service decides where log lines go."""

from __future__ import annotations

import logging

log = logging.getLogger("errbot")

root_logger = logging.getLogger()

console_hdlr = logging.StreamHandler()
"""The handler that writes to standard error. `format_logs` adds it to the root logger."""


def format_logs(formatter: logging.Formatter | None = None, theme_color: str | None = None) -> None:
    """Write log lines to standard error, unless the root logger has a handler.

    It is for programs without a log of their own.

    :param formatter: The format of the lines; by default time, level, logger and message.
    :param theme_color: Ignored; errbot has this parameter.
    """
    console_hdlr.setFormatter(
        formatter or logging.Formatter("%(asctime)s %(levelname)-8s %(name)-25s %(message)s", "%H:%M:%S")
    )
    if not root_logger.handlers:
        root_logger.addHandler(console_hdlr)
