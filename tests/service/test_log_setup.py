"""Where the log goes."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from errklein.config import load_config
from errklein.service.log_setup import places
from errklein.service.twistd_options import TwistdOptions


class PlacesTests(SynchronousTestCase):
    """Where the log goes."""

    def places(
        self,
        daemon: bool = False,
        chosen: str | None = None,
        log_file: str | None = None,
        text: bool = False,
        terminal: bool = True,
    ) -> list[str]:
        """The places for a foreground process on a terminal, unless given otherwise."""
        settings = {"BACKEND": "Text" if text else "Null", "BOT_LOG_FILE": log_file, "BOT_DATA_DIR": "/data"}
        options = TwistdOptions(daemon=daemon, log_file=chosen)
        return places(load_config(None, settings), options, terminal=terminal)

    def test_table(self) -> None:
        """As twistd does it; only a conversation on standard output is never disturbed."""
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
            self.assertEqual(self.places(**given), expected, given)
