"""The example in the docstring of the base class of backends."""

from __future__ import annotations

import inspect
import io
import textwrap
from contextlib import redirect_stdout
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from errklein import bootstrap
from errklein.chat import Person
from errklein.compat.core import ErrBot


def example_in(documented: type[Any], **names: Any) -> dict[str, Any]:
    """Execute the code block in the docstring of the class, and return its names."""
    block = (inspect.getdoc(documented) or "").partition("::\n")[2]
    lines = block.splitlines()
    end = next((number for number, line in enumerate(lines) if line and not line.startswith(" ")), len(lines))
    exec(textwrap.dedent("\n".join(lines[:end])), names)
    return names


class DocstringTests(SynchronousTestCase):
    """The example that authors of backends copy."""

    def test_backend(self) -> None:
        """The backend in the docstring of ErrBot passes messages on and sends replies."""
        path = Path(self.mktemp())
        path.write_text("hello\n")
        config = SimpleNamespace(BOT_ADMINS=("alice",), BOT_IDENTITY={"path": str(path)})
        bootstrap.bot_config_defaults(config)
        backend = example_in(ErrBot, ErrBot=ErrBot, Person=Person)["FileBackend"](config)
        received: list[Any] = []
        self.patch(backend, "callback_message", received.append)
        backend.serve_forever()
        (message,) = received
        self.assertEqual((str(message.frm), message.body, message.is_direct), ("alice", "hello", True))
        with redirect_stdout(io.StringIO()) as printed:
            backend.send_simple_reply(message, "hello alice")
        self.assertEqual(printed.getvalue(), "to alice: hello alice\n")
