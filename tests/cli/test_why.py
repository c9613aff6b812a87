"""Tests for `errklein why`."""

from __future__ import annotations

import io
import sys
import time
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from errklein import cli
from errklein.chat.outgoing import PAUSED, MessageState, OutgoingMessage, waiting_record
from errklein.journal import DATABASE, SQLiteJournal
from errklein.service import DataDirectory
from errklein.webhooks.deliveries import DeliveryState, Outcome, StoredDelivery, StoredRequest
from errklein.webhooks.exported import shown_time
from tests.journal.inline import INLINE, InlineReactor
from tests.processes import write_config

REQUEST = StoredRequest("POST", "/github", [], b"{}", "198.51.100.7")


class WhyTests(SynchronousTestCase):
    """The command beside the journal of a bot that a test plays."""

    def setUp(self) -> None:
        """Create the data directory and the journal."""
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        data = self.directory / "data"
        data.mkdir()
        networks = {"libera": {"BACKEND": "Null"}, "console": {"BACKEND": "Null"}}
        write_config(self.directory, {"NETWORKS": networks, "BOT_DATA_DIR": str(data)})
        self.now = time.time() - 600
        self.reactor = InlineReactor()
        self.journal = SQLiteJournal(data / DATABASE, self.reactor, lambda: self.now, runs=INLINE)
        self.addCleanup(self.journal.close)
        self.running = True
        self.patch(DataDirectory, "is_used", lambda _: self.running)

    def why(self, subject: str) -> str:
        """Return the output of the command, or its error."""
        out = io.StringIO()
        self.patch(sys, "stdout", out)
        try:
            cli.main(["why", subject, "--config", str(self.directory / "config.py")])
        except SystemExit as error:
            return str(error)
        return out.getvalue().rstrip("\n")

    def record(self, **fields: Any) -> int:
        """Record a delivery, and return its id."""
        number = self.journal.next_id()
        delivery = StoredDelivery(
            number, "Github:notification", DeliveryState.RECEIVED, self.now, ack="now", request=REQUEST
        )
        self.successResultOf(self.journal.record(delivery._replace(**fields)))
        return number

    def run_once(self, number: int) -> None:
        """Let the delivery succeed."""
        self.successResultOf(self.journal.lease("Github:notification", 1, 60.0))
        self.successResultOf(self.journal.finish(number, Outcome(200, "", 0.1)))

    def send(self, delivery: int = 0, network: str = "libera") -> OutgoingMessage:
        """Return a message that waits in the file."""
        store = self.journal.outbox
        message = store.add(OutgoingMessage(0, network, "#ops", "hi", accepted_at=self.now, delivery=delivery))
        self.reactor.advance(1)
        return message

    def test_messages_of_a_delivery(self) -> None:
        """The messages are known beside a running bot and without one. Only the bot knows what they wait for."""
        number = self.record()
        sent, waits = self.send(number), self.send(number, "console")
        self.journal.outbox.end(waiting_record(sent)._replace(state=MessageState.SENT, at=self.now))
        self.run_once(number)
        self.reactor.advance(1)
        at = shown_time(self.now)
        story = f"delivery 1 of Github:notification: accepted {at}, ran {at} (200 after 0.1 s)"
        messages = f"- message to #ops on libera: sent {at}\n- message to #ops on console: accepted {at}, waits: "
        self.assertEqual(
            self.why("1"),
            f"{story}\n{messages}only the running bot knows why: ask it with !why, or see `errklein network check`",
        )
        self.running = False
        self.assertEqual(self.why("1"), f"{story}\n{messages}no bot is running")
        self.assertEqual(
            self.why("console:#ops"), f"#ops on console: no bot is running, 1 message waits since {at} (of delivery 1)"
        )
        self.assertTrue(waits.id)

    def test_deliveries_that_wait(self) -> None:
        """A delivery that waits for its next attempt, or whose webhook is paused, is explained without the bot."""
        number = self.record()
        self.successResultOf(self.journal.lease("Github:notification", 1, 60.0))
        due = time.time() + 60
        self.successResultOf(self.journal.retry_at(number, due, Outcome(500, "ValueError: no", 0.1)))
        at = shown_time(self.now)
        self.assertEqual(
            self.why("1"),
            f"delivery 1 of Github:notification: accepted {at}, failed {at} (500 after 0.1 s: ValueError: no), "
            f"waits: the attempt has failed; next attempt {shown_time(due)}",
        )
        self.successResultOf(self.journal.pause("Github:notification", True))
        self.assertTrue(self.why("1").endswith("waits: the webhook is paused"))
        self.assertTrue(
            self.why("Github").startswith(
                "Github:notification: paused: requests are accepted and wait for `webhook resume`, 1 delivery"
            )
        )

    def test_last_refused_request(self) -> None:
        """The last refused request is explained with its reason, and where it came from."""
        number = self.journal.next_id()
        outcome = Outcome(401, "the signature doesn't match")
        self.journal.log(
            StoredDelivery(
                number, "Github:notification", DeliveryState.REFUSED, self.now, outcome=outcome, request=REQUEST
            )
        )
        self.reactor.advance(1)
        self.assertEqual(
            self.why("refused"),
            f"delivery 1 of Github:notification: refused {shown_time(self.now)} (401: the signature doesn't match; from 198.51.100.7), "
            "it isn't stored, so the source must send it again",
        )

    def test_restored_message(self) -> None:
        """A message that a restore has paused names the command that lets it be sent."""
        self.send(network=f"{PAUSED}libera")
        self.assertIn(
            "waits: it was restored and is paused; after `errklein release-messages`", self.why("libera:#ops")
        )

    def test_errors(self) -> None:
        """An unknown subject and a missing journal are errors of one line."""
        self.assertEqual(self.why("7"), "errklein: there is no delivery 7")
        self.assertIn("errklein: unknown webhook 'Github'; known are none", self.why("Github"))
        (self.directory / "data" / DATABASE).unlink()
        self.assertIn("doesn't exist", self.why("7"))
