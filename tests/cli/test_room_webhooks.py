"""Tests for `errklein webhook new`, `set`, `rotate`, `move` and `remove`, beside a bot in another process."""

from __future__ import annotations

import http.client
import re
import signal
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

from twisted.trial.unittest import SynchronousTestCase

from tests.processes import ERRKLEIN, Program, free_port, run, write_config

FIRING = Path(__file__).parents[2] / "docs" / "examples" / "recipes" / "payloads" / "alertmanager-firing.json"
OWN_SECRET = re.compile(b"ek[ts][a-z2-7]{26}")


class RoomWebhookCommandTests(SynchronousTestCase):
    """The commands, in processes of their own."""

    def setUp(self) -> None:
        """Start a bot on the terminal, without a terminal."""
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.port = free_port()
        settings = {"BACKEND": "Text", "CHATROOM_PRESENCE": ("#ops", "#dev"), "BOT_LOG_FILE": "bot.log"}
        write_config(self.directory, {**settings, "WEB": f"tcp:{self.port}:interface=127.0.0.1"})
        self.start()

    def start(self) -> None:
        """Start the bot."""
        self.bot = Program(ERRKLEIN, "run", cwd=self.directory, stdin=subprocess.PIPE)
        self.addCleanup(self.bot.kill)
        self.bot.wait_for("Connected to text")

    def stop(self) -> None:
        """Stop the bot."""
        self.bot.signal(signal.SIGTERM)
        self.bot.wait()

    def printed(self, *arguments: str, stdin: str = "") -> str:
        """Return the output of `errklein webhook`, which must succeed."""
        done = run(ERRKLEIN, "webhook", *arguments, cwd=self.directory, stdin=stdin)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout

    def refused(self, *arguments: str, stdin: str = "") -> str:
        """Return the error of `errklein webhook`, which must fail."""
        done = run(ERRKLEIN, "webhook", *arguments, cwd=self.directory, stdin=stdin)
        self.assertNotEqual(done.returncode, 0)
        self.assertEqual(done.stdout, "")
        return done.stderr

    def post(self, url: str) -> int:
        """Return the status of the response to an alert."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("POST", urlsplit(url).path, FIRING.read_bytes(), {"Content-Type": "application/json"})
            return connection.getresponse().status
        finally:
            connection.close()

    def test_from_the_first_to_the_last(self) -> None:
        """A webhook is made, used, listed, changed, rotated, moved, and removed. Its token is only in what is printed."""
        made = self.printed("new", "alertmanager", "#ops", "--expires=90d")
        first, url, *setup = made.splitlines()
        self.assertEqual(first, "made alertmanager for text:#ops")
        self.assertRegex(url, f"^URL: http://127.0.0.1:{self.port}/hooks/alertmanager/ekt[a-z2-7]{{26}}$")
        self.assertTrue(setup[-1].startswith("Only this computer can reach this address."))
        address = url.removeprefix("URL: ")
        self.assertEqual(self.post(address), 202)
        self.bot.wait_for("DiskFull")
        self.assertEqual(self.printed("set", "alertmanager", "events", "resolved"), "changed events of alertmanager\n")
        self.assertEqual(self.printed("move", "alertmanager", "#dev"), "moved alertmanager to text:#dev\n")
        rotated = self.printed("rotate", "alertmanager").splitlines()
        self.assertEqual(rotated[0], "rotated alertmanager; what was valid before stays so for a day")
        self.assertEqual([self.post(one) for one in (address, rotated[1].removeprefix("URL: "))], [202, 202])
        self.stop()
        self.assertRegex(
            self.printed("list"),
            r"/hooks/alertmanager -> alertmanager \[POST\], Alertmanager, made in #dev by .*, verified by token",
        )
        self.assertRegex(self.printed("show", "alertmanager"), r"Options: events=\('resolved',\), expires='")
        self.assertIn(
            "only the digest of the token of alertmanager is stored; `errklein",
            self.refused("show", "alertmanager", "--url"),
        )
        self.assertIn("the bot isn't running", self.refused("rotate", "alertmanager"))
        for command in ("backup", "report", "delivery export 1", "export-errbot"):
            done = run(ERRKLEIN, *command.split(), cwd=self.directory)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIsNone(OWN_SECRET.search(done.stdout.encode()))
        self.start()
        self.assertEqual(self.printed("remove", "alertmanager"), "removed alertmanager\n")
        self.assertEqual(self.post(address), 404)
        self.stop()
        for path in self.directory.rglob("*"):
            if path.is_file():
                self.assertIsNone(OWN_SECRET.search(path.read_bytes()), path)
        self.assertIsNone(OWN_SECRET.search(self.bot.output))

    def test_secrets(self) -> None:
        """A secret is printed once, or read from standard input; it is stored in a file that only the bot may read."""
        made = self.printed("new", "github", "#ops", "shop")
        self.assertEqual(self.printed("show", "shop", "--url"), "/hooks/shop\n")
        self.assertIn("202 Accepted", self.printed("test", "shop", f"--address=http://127.0.0.1:{self.port}"))
        self.bot.wait_for("pushed")
        secret = re.findall("^Secret: (eks[a-z2-7]{32})$", made, re.MULTILINE)
        made = self.printed("new", "pagerduty", "#ops")
        self.assertIn("Then set the secret with errklein webhook set pagerduty secret.\n", made)
        self.assertIn("a secret is read from standard input", self.refused("set", "pagerduty", "secret", "b3tween"))
        self.assertEqual(self.printed("set", "pagerduty", "secret", stdin="b3tween\n"), "changed secret of pagerduty\n")
        stored = {path.read_text(): path for path in (self.directory / "data" / "secrets").iterdir()}
        self.assertEqual({*stored}, {*secret, "b3tween"})
        self.assertEqual({path.stat().st_mode & 0o777 for path in stored.values()}, {0o600})
        self.stop()
        for path in {*self.directory.rglob("*")}.difference(stored.values()):
            if path.is_file():
                for one in stored:
                    self.assertNotIn(one.encode(), path.read_bytes(), path)
        self.assertEqual(run(ERRKLEIN, "check", cwd=self.directory).returncode, 0)
        for path in stored.values():
            path.unlink()
        done = run(ERRKLEIN, "check", cwd=self.directory)
        self.assertEqual(done.returncode, 1)
        self.assertIn("problem: shop responds with 503 to all requests: secret:shop-", done.stdout)

    def test_of_the_configuration(self) -> None:
        """A webhook of the configuration is listed, and only --url prints its token."""
        token, escaped = "t0ken-of-alerts?in=a%20file", "t0ken-of-alerts%3Fin%3Da%2520file"
        path = self.directory / "token"
        path.write_text(token)
        of_file = {"source": "alertmanager", "room": "#ops", "secret": f"file:{path}"}
        with (self.directory / "config.py").open("a") as config:
            config.write(f"PUBLIC_URL = 'https://bot.example.net'\nWEBHOOKS = {{'alerts': {of_file!r}}}\n")
        self.assertIn(
            "/hooks/alerts -> alerts [POST], Alertmanager, made in #ops by the configuration file", self.printed("list")
        )
        self.assertNotIn(token, self.printed("show", "alerts"))
        self.assertEqual(self.printed("show", "alerts", "--url"), f"https://bot.example.net/hooks/alerts/{escaped}\n")
        self.stop()
        self.start()
        tested = self.printed("test", "alerts", f"--address=http://127.0.0.1:{self.port}")
        self.assertTrue(tested.startswith(f"POST http://127.0.0.1:{self.port}/hooks/alerts/•••: 202 Accepted"), tested)
        self.bot.wait_for("FIRING")
        self.assertIn("is in the configuration file", self.refused("rotate", "alerts"))

    def test_errors(self) -> None:
        """What can't be done is an error of one line."""
        for arguments, error in (
            (("new", "grafna", "#ops"), "errklein: there is no source 'grafna'; did you mean 'grafana'?"),
            (("new", "grafana", "@alice"), "errklein: '@alice' is no room"),
            (("new", "grafana"), "errklein webhook new: the argument ROOM is missing"),
            (("move", "grafana", "#dev"), "errklein: there is no webhook 'grafana' of a room."),
            (("set", "grafana", "events"), "errklein webhook set: the value is missing"),
            (("show", "Webserver:echo", "--url"), "there is no webhook 'Webserver:echo' of a room"),
        ):
            self.assertIn(error, self.refused(*arguments), arguments)
