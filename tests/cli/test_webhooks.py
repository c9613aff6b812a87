"""Tests for `errklein webhook`."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import closing
from pathlib import Path
from textwrap import dedent

from twisted.trial.unittest import SynchronousTestCase

from errklein.journal import JournalArchive
from tests.processes import ERRKLEIN, Program, free_port, run, write_config, write_plugin
from tests.service.test_daemon import CONNECTED

SECRET = "s3cr3t value"

SHOP = """
    from errklein import BotPlugin, webhook

    class Shop(BotPlugin):
        @webhook("/orders", methods=["POST"])
        def order(self, payload):
            self.log.info("handled %s", payload)

        @webhook("/items/<int:number>")
        def item(self, payload, number):
            return "an item"
"""


class WebhookCommandTests(SynchronousTestCase):
    """The command, in processes of its own."""

    def setUp(self) -> None:
        """Write a configuration and a plugin."""
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        (self.directory / "data").mkdir()
        write_plugin(self.directory, "Shop", dedent(SHOP))
        os.environ["SHOP_SECRET"] = SECRET
        self.addCleanup(os.environ.pop, "SHOP_SECRET")
        verified = {"verify": "github", "secret": "env:SHOP_SECRET", "ack": "now", "attempts": 3}
        settings = {"BOT_EXTRA_PLUGIN_DIR": str(self.directory), "WEBHOOKS": {"Shop:order": verified}}
        write_config(self.directory, {**settings, "PUBLIC_URL": "https://bot.example.net"})

    def run_command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `errklein webhook`."""
        done = run(ERRKLEIN, "webhook", *arguments, cwd=self.directory)
        self.assertNotIn(SECRET, done.stdout + done.stderr)
        return done

    def printed(self, *arguments: str) -> str:
        """Return the output of the command, which must succeed."""
        done = self.run_command(*arguments)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout

    def refused(self, *arguments: str) -> str:
        """Return the error of the command, which must fail with one line."""
        done = self.run_command(*arguments)
        self.assertNotEqual(done.returncode, 0)
        self.assertEqual((done.stdout, done.stderr.count("\n")), ("", 1))
        return done.stderr

    def test_without_a_bot(self) -> None:
        """Before the first start of a bot, webhooks are listed and shown with the operator's options. Nothing is written."""
        order = 'https://bot.example.net/orders -> Shop:order [POST], verified by github, ack="now"\n'
        nothing = "Shop:order: not paused, no request is recorded\n"
        listed = self.printed("list")
        self.assertIn(order, listed)
        self.assertIn("https://bot.example.net/echo -> Webserver:echo [GET, POST], not verified\n", listed)
        self.assertEqual(self.printed("show", "Shop:order"), f"{order}Options: attempts=3\n{nothing}")
        self.assertEqual(self.printed("show", "Shop").count("no request is recorded"), 2)
        self.assertEqual(list((self.directory / "data").iterdir()), [])

    def test_errors(self) -> None:
        """An unknown webhook, a path with variables, an invalid argument and an address without a bot are errors of one line."""
        for arguments, error in (
            (("show", "Shop:ordr"), "errklein: unknown webhook 'Shop:ordr'; did you mean 'Shop:order'?"),
            (("show", "shop"), "errklein: unknown webhook 'shop'; did you mean 'Shop'?"),
            (("test", "Shop:item"), "errklein webhook test: the path of Shop:item, /items/<int:number>, has variables"),
            (("test", "Shop"), "errklein webhook test: 'Shop' has several webhooks: Shop:item, Shop:order"),
            (("test", "ftp://x/"), "errklein webhook test: invalid URL: 'ftp://x/'; expected one such as http://"),
            (("test", "http://127.0.0.1:1/a"), "errklein: no response from http://127.0.0.1:1/a: Connection refused"),
            (("test", "http://127.0.0.1:1/a", "--event=x"), "errklein webhook test: --event needs a source"),
            (
                ("test", "http://127.0.0.1:1/a", "--source=stripe", "--secret=env:SHOP_SECRET", "--event=x"),
                "errklein webhook test: stripe has no header for the event",
            ),
            (
                ("test", "http://127.0.0.1:1/a", "--source=github", "--secret=env:MISSING"),
                "errklein: env:MISSING: the secret is missing",
            ),
            (("test", "http://127.0.0.1:1/a", "missing"), "errklein: missing can't be read: No such file or directory"),
            (("pause", "Shop:order"), f"errklein: {self.directory}/data/journal.sqlite doesn't exist"),
        ):
            self.assertTrue(self.refused(*arguments).startswith(error), arguments)

    def test_beside_a_running_bot(self) -> None:
        """A pause reaches the running bot, and holds after a restart; a signed request is sent, and shown as the last one."""
        port = free_port()
        address = f"--address=http://127.0.0.1:{port}"
        bot = self.start(port)
        self.assertEqual(self.printed("pause", "Shop:order"), "paused Shop:order\n")
        bot.wait_for("Paused webhooks: Shop:order")
        (self.directory / "push.json").write_text('{"ref": "main"}')
        response = self.printed("test", "Shop:order", "push.json", "--event", "push", address)
        first, *headers = response.splitlines()
        self.assertEqual(first, f"POST http://127.0.0.1:{port}/orders: 202 Accepted")
        self.assertIn("X-Delivery-Id: 1", headers)
        bot.signal(signal.SIGTERM)
        bot.wait()
        bot = self.start(port)
        shown = self.printed("show", "Shop:order").splitlines()
        self.assertTrue(shown[0].endswith(', ack="now", paused'), shown)
        self.assertRegex(shown[2], "1 of Shop:order: accepted .*, waits: the webhook is paused$")
        self.assertEqual(shown[3], "In 24 hours: 1 accepted")
        self.assertEqual(self.printed("resume", "Shop"), "resumed Shop:order\n")
        bot.wait_for("handled {'ref': 'main'}")
        refused = self.run_command("test", f"http://127.0.0.1:{port}/orders")
        self.assertEqual(refused.returncode, 1)
        self.assertIn('"detail": "the source could not be verified: ', refused.stdout)
        signed = ("--source=github", "--secret=env:SHOP_SECRET", "--header=X-A: b")
        self.assertIn(": 202 Accepted\n", self.printed("test", f"http://127.0.0.1:{port}/orders", *signed))
        bot.signal(signal.SIGTERM)
        bot.wait()
        paused = "paused Shop:item; no bot is running, so it holds from its next start\n"
        self.assertEqual(self.printed("pause", "Shop:item"), paused)
        with closing(JournalArchive(self.directory / "data" / "journal.sqlite")) as archive:
            noted = [(one.way, one.operation, one.arguments) for one in archive.actions()]
        expected = [("webhook_pause", "Shop:item"), ("webhook_resume", "Shop:order"), ("webhook_pause", "Shop:order")]
        self.assertEqual(noted, [("shell", *one) for one in expected])

    def start(self, port: int) -> Program:
        """Start the bot."""
        bot = Program(ERRKLEIN, "run", "--web", f"tcp:{port}:interface=127.0.0.1", cwd=self.directory)
        self.addCleanup(bot.kill)
        bot.wait_for(CONNECTED)
        return bot


class MemoryTests(SynchronousTestCase):
    """A bot without a journal on disk."""

    def test_pause(self) -> None:
        """Only the running bot can pause webhooks then."""
        directory = Path(self.mktemp()).absolute()
        (directory / "data").mkdir(parents=True)
        write_config(directory, {"STORAGE": "Memory"})
        done = run(ERRKLEIN, "webhook", "pause", "Webserver:echo", cwd=directory)
        expected = "errklein: STORAGE is 'Memory', so only the running bot can do it; use !webhook pause\n"
        self.assertEqual((done.returncode, done.stderr), (1, expected))
