"""Tests for `errklein person forget`."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

from twisted.internet.testing import MemoryReactor
from twisted.trial.unittest import SynchronousTestCase

from errklein import cli
from errklein.cli import _control
from errklein.service import DataDirectory
from errklein.service.control import ControlSocket
from errklein.testing import TestBot
from errklein.webhooks.deliveries import DeliveryState, StoredDelivery, StoredRequest
from tests.processes import write_config
from tests.service.test_control import Transport


class PersonTests(SynchronousTestCase):
    """The command, with a bot in memory behind the control socket's protocol."""

    def setUp(self) -> None:
        """Start the bot."""
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        write_config(self.directory, {})
        self.bot = TestBot()
        self.bot.start()
        self.addCleanup(self.bot.stop)
        self.patch(_control, "perform", self.perform)

    def perform(self, directory: Path, operation: str, **arguments: object) -> Any:
        """Return the result of an operation, as values of JSON."""
        self.assertEqual(directory, self.directory / "data")
        connection: Any = ControlSocket(
            MemoryReactor(), DataDirectory(directory), self.bot.bot.core_host
        ).buildProtocol(None)
        transport = Transport()
        connection.makeConnection(transport)
        connection.dataReceived(json.dumps({"operation": operation, "arguments": arguments}).encode() + b"\n")
        response = json.loads(transport.value())
        if "error" in response:
            raise SystemExit(response["error"])
        return response["result"]

    def forget(self, *arguments: str) -> list[str]:
        """Return the lines that the command prints."""
        out = io.StringIO()
        self.patch(sys, "stdout", out)
        command = ["person", "forget", *arguments, "--config", str(self.directory / "config.py")]
        self.assertEqual(cli.main(command), 0)
        return out.getvalue().splitlines()

    def log(self) -> int:
        """Store a delivery that mentions alice, and return its id."""
        journal = self.bot.bot.journal
        number, request = journal.next_id(), StoredRequest("POST", "/", [], b"alice")
        journal.log(StoredDelivery(number, "A:a", DeliveryState.FAILED, 1000.0, request=request))
        return number

    def test_forget(self) -> None:
        """The bot removes what is stored, and the command prints what was removed and what remains."""
        self.bot.say("!echo hello", frm="@alice")
        number = self.log()
        lines = self.forget("@alice")
        self.assertEqual(lines[0], "Removed of @alice on test: 1 commands and 0 notices")
        self.assertIn("Remains: the log", lines)
        self.assertEqual(
            lines[-1], f"To remove headers and bodies: errklein person forget @alice --deliveries {number}"
        )
        self.assertEqual(self.bot.say("!history", frm="@alice"), [])

    def test_deliveries(self) -> None:
        """The headers and bodies of the deliveries that are given are removed."""
        first, second = self.log(), self.log()
        lines = self.forget("@alice", "--deliveries", str(first), "99")
        self.assertEqual(lines, [f"Deliveries without headers and bodies now: {first}", "Unknown, or not ended: 99"])
        self.assertTrue(self.forget("@alice")[-1].endswith(f" --deliveries {second}"))

    def test_nobody(self) -> None:
        """A name that is no person's is an error."""
        error = self.assertRaises(SystemExit, self.forget, "#ops")
        self.assertIn("'#ops' isn't the name of a person", str(error))

    def test_invalid(self) -> None:
        """An invalid command line has the status 2."""
        self.patch(sys, "stderr", io.StringIO())
        for arguments in ((), ("@alice", "--deliveries"), ("@alice", "--deliveries", "x")):
            self.assertEqual(self.assertRaises(SystemExit, self.forget, *arguments).code, 2, arguments)
