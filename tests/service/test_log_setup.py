"""The destinations of the log."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from errklein.config import load_config
from errklein.service.startup_checks import TwistdOptions, outputs


class PlacesTests(SynchronousTestCase):
    """The destinations by options and configuration."""

    def outputs(
        self,
        daemon: bool = False,
        chosen: str | None = None,
        log_file: str | None = None,
        text: bool = False,
        terminal: bool = True,
    ) -> list[str]:
        """Return the destinations, by default of a foreground process on a terminal."""
        settings = {"BACKEND": "Text" if text else "Null", "BOT_LOG_FILE": log_file, "BOT_DATA_DIR": "/data"}
        options = TwistdOptions(daemon=daemon, log_file=chosen)
        return outputs(load_config(None, settings), options, terminal=terminal)

    def test_table(self) -> None:
        """The destinations are those of twistd, but never the standard output of a conversation."""
        table: tuple[tuple[dict[str, Any], list[str]], ...] = (
            ({}, ["-"]),
            ({"daemon": True}, ["twistd.log"]),
            ({"daemon": True, "log_file": "/l"}, ["/l"]),
            ({"daemon": True, "log_file": "/l", "chosen": "/c"}, ["/c"]),
            ({"log_file": "/l"}, ["-", "/l"]),
            ({"chosen": "-"}, ["-"]),
            ({"text": True}, ["/data/errklein.log"]),
            ({"text": True, "log_file": "/l"}, ["/l"]),
            ({"text": True, "terminal": False}, ["+"]),
            ({"text": True, "terminal": False, "log_file": "/l"}, ["+", "/l"]),
            ({"text": True, "chosen": "-"}, ["+"]),
            ({"text": True, "chosen": "/c"}, ["/c"]),
        )
        for given, expected in table:
            self.assertEqual(self.outputs(**given), expected, given)
