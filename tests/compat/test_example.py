"""The example of a backend written for errbot."""

from __future__ import annotations

import io
import runpy
import sys
from contextlib import redirect_stdout
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from errklein import bootstrap, compat

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "backend" / "file_backend.py"


class ExampleTests(SynchronousTestCase):
    """The example that authors of backends copy."""

    def test_backend(self) -> None:
        """The backend of the page about errbot passes messages on and sends replies."""
        self.enterContext(mock.patch.dict(sys.modules))
        path = Path(self.mktemp())
        path.write_text("hello\n")
        config = SimpleNamespace(BOT_ADMINS=("alice",), BOT_IDENTITY={"path": str(path)})
        bootstrap.bot_config_defaults(config)
        compat.stand_in_for("errbot")
        backend = runpy.run_path(str(EXAMPLE))["FileBackend"](config)
        received: list[Any] = []
        self.patch(backend, "callback_message", received.append)
        backend.attach_plugin_manager(mock.Mock())
        backend.serve_forever()
        (message,) = received
        self.assertEqual((str(message.frm), message.body, message.is_direct), ("alice", "hello", True))
        with redirect_stdout(io.StringIO()) as printed:
            backend.send_simple_reply(message, "hello alice")
        self.assertEqual(printed.getvalue(), "to alice: hello alice\n")
