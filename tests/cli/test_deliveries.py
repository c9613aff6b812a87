"""Tests for `errklein delivery`."""

from __future__ import annotations

import io
import json
import signal
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from textwrap import dedent
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from errklein import cli
from errklein.cli import _webhooks
from errklein.cli._parser import make_parser
from errklein.database import Access
from errklein.journal import DATABASE, JournalArchive, SQLiteJournal
from errklein.service import DataDirectory
from errklein.webhooks.deliveries import DeliveryState, Outcome, StoredDelivery, StoredRequest
from errklein.webhooks.delivery_words import InvalidWords, UnknownWebhook
from errklein.webhooks.exported import read_request
from tests.journal.inline import INLINE, InlineReactor
from tests.processes import ERRKLEIN, Program, free_port, run, write_config, write_plugin
from tests.service.test_daemon import CONNECTED, get

RECEIVED_AT = datetime(2026, 11, 28, 18, 56, 6).timestamp()
TIME = datetime(2026, 11, 28, 18, 56, 6).astimezone().isoformat()
REQUEST = StoredRequest("POST", "/github", [(b"x-github-event", b"issues")], b'{"action": "opened"}', "198.51.100.7")
LINE = f"failed {TIME} Github:notification 500 after 0.2 s: ValueError"


class DeliveriesCase(SynchronousTestCase):
    """A test of the command, with a journal in a file, a bot that runs replays, and the output in `self.out` and `self.err`.

    `outcomes` are those of the bot's attempts by the id of the delivery; the bot leaves out others.
    """

    def setUp(self) -> None:
        """Create the journal."""
        self.outcomes: dict[int, Outcome] = {}
        self.bot: DeliveriesCase | None = self
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.reactor = InlineReactor()
        path = self.directory / DATABASE
        self.journal = SQLiteJournal(path, self.reactor, lambda: RECEIVED_AT, runs=INLINE)
        self.archive = JournalArchive(path, Access.SHARE)
        self.addCleanup(self.journal.close)
        self.addCleanup(self.archive.close)
        self.out, self.err = io.StringIO(), io.StringIO()
        self.patch(sys, "stdout", self.out)
        self.patch(sys, "stderr", self.err)
        self.now = 0.0
        self.patch(_webhooks.time, "sleep", self.sleep)
        self.patch(_webhooks.time, "monotonic", lambda: self.now)
        self.patch(_webhooks.time, "time", lambda: RECEIVED_AT)

    def sleep(self, seconds: float) -> None:
        """Let time pass, and the bot run its deliveries."""
        self.now += seconds
        for delivery in self.successResultOf(self.journal.lease("Github:notification", 100, 60)):
            if delivery.id in self.outcomes:
                self.journal.finish(delivery.id, self.outcomes[delivery.id])

    def add(self, state: DeliveryState = DeliveryState.FAILED, **fields: Any) -> int:
        """Store a delivery, and return its id."""
        delivery = StoredDelivery(
            self.journal.next_id(),
            "Github:notification",
            state,
            RECEIVED_AT,
            ack="now",
            attempt=1,
            outcome=Outcome(500, "ValueError", 0.2),
            request=REQUEST,
        )
        self.journal.log(delivery._replace(**fields))
        self.reactor.advance(1)
        return delivery.id

    def replay(self, ids: Sequence[int], force: bool, user: str, spacing: float = 0.0) -> Sequence[int]:
        """Replay deliveries, as the running bot does."""
        replayed: Sequence[int] = self.successResultOf(self.journal.replay(ids, force, spacing))
        return replayed

    def set_paused(self, webhook: str, paused: bool) -> None:
        """Pause no webhook."""

    def deliveries(self, *arguments: str) -> tuple[int, str, str]:
        """Return the exit status, the output and the errors of the command."""
        known = make_parser().parse_args(["delivery", *arguments])
        status = _webhooks.run_action(self.archive, known, self.bot, self.bot is not None)
        results = status, self.out.getvalue(), self.err.getvalue()
        for stream in (self.out, self.err):
            stream.seek(0)
            stream.truncate()
        return results


class ListTests(DeliveriesCase):
    """`list` and `show`."""

    def test_list(self) -> None:
        """Each delivery is a line, the latest first; a full page ends with the command for the next one."""
        for _ in range(3):
            self.add()
        self.add(DeliveryState.DONE)
        status, out, err = self.deliveries("list", "Github", "failed", "since", "2h", "limit", "2")
        self.assertEqual((status, out), (0, f"3 {LINE}\n2 {LINE}\n"))
        self.assertEqual(err, "errklein: older ones: errklein delivery list Github failed since 2h limit 2 before 2\n")

    def test_unknown_webhooks(self) -> None:
        """A webhook without any delivery is an error with a suggestion, in lists and replays."""
        self.add()
        for what in ("list", "replay"):
            for name in ("Github:notifications", "Githup", "github"):
                error = self.assertRaises(InvalidWords, self.deliveries, what, name)
                self.assertIn("did you mean 'Github", str(error))
        error = self.assertRaises(UnknownWebhook, self.deliveries, "list", "Gone:hook")
        self.assertEqual(str(error), "unknown webhook 'Gone:hook'; known are Github:notification")

    def test_filters(self) -> None:
        """The source's id, the status and a part of the reason select deliveries; words and options may have any order."""
        self.add(key="72d3162e")
        self.add(outcome=Outcome(503, "the secret isn't available"))
        for words, number in (
            (["source-id", "72d3162e"], 1),
            (["status", "503", "since", "10min"], 2),
            (["reason", "SECRET"], 2),
            (["reason", "valueerror", "failed"], 1),
        ):
            status, out, _ = self.deliveries("list", *words)
            self.assertEqual((status, out.split(" ")[0], out.count("\n")), (0, str(number), 1))

    def test_groups(self) -> None:
        """Grouped deliveries have what is to be done: ids to replay, and those that the source must send again."""
        for key in ("a", "b", "c"):
            self.add(DeliveryState.REFUSED, outcome=Outcome(401, "the signature doesn't match"), key=key)
        for _ in range(40):
            self.add()
        self.add(DeliveryState.DONE, outcome=Outcome(200), key="b")
        status, out, err = self.deliveries("list", "--grouped")
        self.assertEqual(
            (status, out.splitlines(), err),
            (
                0,
                [
                    f"1 done Github:notification, {TIME} to {TIME}, 200",
                    f"40 failed Github:notification, {TIME} to {TIME}, 500: ValueError",
                    f"  to replay: {' '.join(str(number) for number in range(4, 44))}",
                    f"3 refused Github:notification, {TIME} to {TIME}, 401: the signature doesn't match",
                    "  the source has repeated 1 of them",
                    "  not stored: the source must send 2 again, with source-id: a, c",
                ],
                "",
            ),
        )

    def test_counted(self) -> None:
        """Lists end with the number of deliveries that were only counted."""
        self.add()
        self.journal.count("Github:notification")
        self.reactor.advance(1)
        _, out, _ = self.deliveries("list")
        self.assertEqual(out, f"1 {LINE}\nand 1 not recorded: successful ones above WEBHOOK_LOG_RATE\n")

    def test_json(self) -> None:
        """With --json each line is the JSON of a delivery."""
        self.add()
        self.add(outcome=Outcome(500, "https://me:pw@host"))
        _, out, _ = self.deliveries("list", "--json")
        values = [json.loads(line) for line in out.splitlines()]
        self.assertEqual([value["id"] for value in values], [2, 1])
        self.assertEqual(values[0]["outcome"]["reason"], "https://•••@host")
        self.assertNotIn("request", values[0])
        _, out, _ = self.deliveries("show", "1", "--json")
        self.assertEqual(json.loads(out)["request"]["body"], '{"action": "opened"}')

    def test_show(self) -> None:
        """A delivery is shown with headers and body; control characters of sources are escaped."""
        self.add()
        self.add(request=REQUEST._replace(body=b"\x1b[2J"))
        status, out, err = self.deliveries("show", "1", "2", "9")
        self.assertEqual((status, err), (1, "errklein: there is no delivery 9\n"))
        self.assertIn(
            f"1 {LINE}\nack now, attempt 1\nPOST /github from 198.51.100.7\nx-github-event: issues\n"
            'Body (20 bytes):\n{"action": "opened"}\n2 failed',
            out,
        )
        self.assertNotIn("\x1b", out)


class ReplayTests(DeliveriesCase):
    """`replay`."""

    def test_outcome(self) -> None:
        """The command waits for the outcomes, and fails if one does."""
        self.add()
        self.add()
        self.outcomes = {1: Outcome(200, "", 0.1), 2: Outcome(400, "bad", 0.1)}
        status, out, err = self.deliveries("replay", "1")
        self.assertEqual((status, err), (0, ""))
        self.assertEqual(out, f"1 done {TIME} Github:notification (replay) 200 after 0.1 s\n")
        status, out, _ = self.deliveries("replay", "2")
        self.assertEqual(status, 1)
        self.assertIn("(replay) 400 after 0.1 s: bad", out)

    def test_ranges(self) -> None:
        """A webhook, states and times select deliveries; by default failed and dead ones."""
        self.add()
        self.add(DeliveryState.DONE)
        self.add(DeliveryState.DEAD)
        self.outcomes = {1: Outcome(200), 3: Outcome(200)}
        status, out, _ = self.deliveries("replay", "Github", "since", "2h")
        self.assertEqual((status, sorted(line[0] for line in out.splitlines())), (0, ["1", "3"]))

    def test_superseded(self) -> None:
        """What the source has repeated is skipped, unless it is forced. It is a failure only if it was given by its id."""
        self.add(key="k")
        self.add(DeliveryState.DONE, key="k")
        self.outcomes = {1: Outcome(200)}
        skipped = "errklein: 1 is skipped: the source has repeated it as 2; --force replays it, too\n"
        self.assertEqual(self.deliveries("replay", "failed"), (0, "", skipped))
        self.assertEqual(self.deliveries("replay", "1"), (1, "", skipped))
        for words in (["1", "--force"], ["force", "1"]):
            status, out, _ = self.deliveries("replay", *words)
            self.assertEqual(status, 0)
            self.assertIn("source-id k (superseded by 2) 200", out)

    def test_time_limit(self) -> None:
        """A delivery that isn't finished in time is named, and the status is 1."""
        self.add()
        status, out, err = self.deliveries("replay", "1", "--wait", "3")
        self.assertEqual((status, out, err), (1, "", "errklein: not finished after 3 s: 1\n"))
        self.assertAlmostEqual(self.now, 3, delta=0.2)

    def test_stopped_bot(self) -> None:
        """Without a bot, the command states that the delivery runs at the next start, and doesn't wait."""
        self.add()
        self.bot = None
        self.assertEqual(
            self.deliveries("replay", "1"), (0, "no bot is running; after its next start, it runs 1\n", "")
        )
        self.assertEqual(self.now, 0)
        self.add()
        status, out, err = self.deliveries("replay", "2", "9")
        self.assertEqual((status, out), (1, "no bot is running; after its next start, it runs 2\n"))
        self.assertTrue(err.startswith("errklein: 9 can't be replayed: it is unknown, due or running already"), err)


class ExportTests(DeliveriesCase):
    """`export`."""

    def test_file(self) -> None:
        """The file is private, and has the request for a test; an existing file isn't overwritten."""
        self.add(request=REQUEST._replace(body="naïve".encode()))
        path = self.directory / "delivery-1.json"
        export = ("export", "1", "--directory", str(self.directory))
        self.assertEqual(self.deliveries(*export), (0, f"{path}\n", ""))
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)
        self.assertIn('"body": "naïve"', path.read_text("utf-8"))
        self.assertEqual(read_request(path.read_bytes()).body, "naïve".encode())
        before = path.read_bytes()
        self.assertEqual(self.deliveries(*export), (1, "", f"errklein: {path}: File exists\n"))
        self.assertEqual(path.read_bytes(), before)

    def test_control_characters(self) -> None:
        """The file has no characters that control a terminal or change the direction of a line, and yields the same request."""
        body = "\x9b2J\u202e\x7f ü".encode()
        self.add(request=REQUEST._replace(body=body))
        self.deliveries("export", "1", "--directory", str(self.directory))
        written = (self.directory / "delivery-1.json").read_bytes()
        self.assertIn(b'"body": "\\u009b2J\\u202e\\u007f \\u00fc"', written)
        self.assertEqual(read_request(written).body, body)

    def test_no_body(self) -> None:
        """The command warns about a delivery that can't be replayed."""
        self.add(request=REQUEST._replace(body=None))
        status, _, err = self.deliveries("export", "1", "--directory", str(Path.cwd()))
        self.assertEqual(status, 0)
        self.assertIn("delivery-1.json: the body isn't stored, so the delivery can't be replayed", err)


class CommandLineTests(DeliveriesCase):
    """The whole command."""

    def main(self, *arguments: str, data: Path | None = None) -> tuple[int | str | None, str]:
        """Return the status or message of the command, and what it has written to standard error."""
        try:
            status: int | str | None = cli.main(["delivery", *arguments, "--data-dir", str(data or self.directory)])
        except SystemExit as ended:
            status = ended.code
        return status, self.err.getvalue()

    def test_data_directory(self) -> None:
        """The journal is that of the data directory, which isn't locked."""
        self.add()
        lock = DataDirectory(self.directory)
        lock.lock()
        self.addCleanup(lock.unlock)
        self.assertEqual(self.main("list"), (0, ""))
        self.assertEqual(self.out.getvalue(), f"1 {LINE}\n")
        self.assertEqual(self.main("list", "failed", "--json", "since", "2h"), (0, ""))
        self.assertIn('"id": 1', self.out.getvalue())
        self.assertIn("the bot isn't running", str(self.main("replay", "1")[0]))

    def test_stopped(self) -> None:
        """Without a lock of the data directory, no bot runs."""
        self.add()
        self.assertEqual(self.main("replay", "1"), (0, ""))
        self.assertIn("no bot is running", self.out.getvalue())

    def test_errors(self) -> None:
        """Invalid words and ids are errors of the command line; so are journals in memory, and missing ones, which are named."""
        status, error = self.main("list", "faild")
        self.assertEqual(status, 2)
        self.assertTrue(error.startswith("errklein delivery list: unknown word 'faild'; did you mean 'failed'?"), error)
        status, _ = self.main("list", "Gone:hook")
        self.assertEqual(status, "errklein: unknown webhook 'Gone:hook'; known are none")
        for text in ("x", "9" * 30):
            self.assertEqual(self.main("show", text)[0], 2)
            self.assertIn(f"invalid id of a delivery: '{text}'; expected a number", self.err.getvalue())
        config = self.directory / "config.py"
        config.write_text("BACKEND, BOT_ADMINS, STORAGE = 'Null', ('@admin',), 'Memory'")
        status, _ = self.main("list", "--config", str(config))
        self.assertIn("STORAGE is 'Memory'", str(status))
        missing = self.directory.absolute() / "missing"
        status, _ = self.main("list", data=missing)
        self.assertEqual(
            status,
            f"errklein: BOT_DATA_DIR {missing}: the directory doesn't exist; name the bot's configuration with --config",
        )
        missing.mkdir()
        status, _ = self.main("list", data=missing)
        self.assertTrue(str(status).startswith(f"errklein: {missing}/{DATABASE} "), status)


SHOP = """
    from pathlib import Path
    from errklein import BotPlugin, webhook

    class Shop(BotPlugin):
        @webhook(ack="now", attempts=1)
        def order(self, payload):
            if not Path(__file__).with_name("works").exists():
                return "broken", 400
            self.log.info("handled the order")
"""


class RunningBotTests(SynchronousTestCase):
    """The command beside a running bot, in processes of their own."""

    def test_replay(self) -> None:
        """A dead delivery is listed, and runs again while the bot runs; after its end, at the next start."""
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        write_plugin(directory, "Shop", dedent(SHOP))
        write_config(directory, {"BOT_EXTRA_PLUGIN_DIR": str(directory)})
        port = free_port()
        bot = self.start(directory, port)
        self.assertEqual(get(port, "/order")[0], 202)
        bot.wait_for("The delivery 1 of Shop:order is dead after 1 attempt")
        self.assertIn("1 dead", run(ERRKLEIN, "delivery", "list", "Shop", cwd=directory).stdout)
        (directory / "shop" / "works").touch()
        by_sudo = ["env", "SUDO_USER=alice", *ERRKLEIN]
        replayed = run(by_sudo, "delivery", "replay", "dead", "--wait", "30", cwd=directory)
        self.assertEqual((replayed.returncode, replayed.stderr), (0, ""))
        self.assertRegex(replayed.stdout, r"^1 done .* Shop:order \(replay\) 200 after ")
        bot.wait_for("(sudo by alice) on the command line replays the deliveries 1")
        bot.signal(signal.SIGTERM)
        bot.wait()
        replayed = run(ERRKLEIN, "delivery", "replay", "1", cwd=directory)
        self.assertEqual(replayed.stdout, "no bot is running; after its next start, it runs 1\n")
        self.start(directory, port).wait_for("handled the order")

    def start(self, directory: Path, port: int) -> Program:
        """Start the bot."""
        bot = Program(ERRKLEIN, "run", "--web", f"tcp:{port}:interface=127.0.0.1", cwd=directory)
        self.addCleanup(bot.kill)
        bot.wait_for(CONNECTED)
        return bot
