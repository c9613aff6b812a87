"""Tests for `errklein report`."""

from __future__ import annotations

import io
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import quote

from hypothesis import given, settings
from hypothesis import strategies as st

from errklein import __version__, cli
from errklein.chat.outgoing import OutgoingMessage
from errklein.cli import _report
from errklein.journal import DATABASE, SQLiteJournal
from errklein.plugins.subprocesses import run
from errklein.service import DataDirectory
from errklein.webhooks.deliveries import DeliveryState, Outcome, StoredDelivery
from tests import needs_network
from tests.cli.test_data import DataCase
from tests.journal.inline import INLINE, InlineReactor
from tests.processes import write_config

PASSWORDS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=16, max_size=24)
# What looks like the path of a file isn't taken for a secret.
SECRETS = st.lists(
    PASSWORDS.filter(lambda text: "/" not in text[:3] and any(map(str.isdigit, text))),
    min_size=14,
    max_size=14,
    unique=True,
)
"""Passwords of printable ASCII characters, quotes and backslashes included. Each has a digit: it is masked in all later tests of the
process, and Hypothesis also tries words of errklein's own messages."""

ERROR = "2026-11-28T18:56:06+0000 [errbot.plugins.Builds#error] (0123456789-00000a)"

NO_DELIVERIES = "deliveries: 0 waiting, 0 running, 0 dead; paused webhooks: none"


class ReportCase(DataCase):
    """A bot's directory, and the output of the command. The check, which is another process, is left out by default."""

    checked: Sequence[str] = ()

    def setUp(self) -> None:
        """Create the directory."""
        super().setUp()
        self.patch(_report, "_check", lambda *_: self.checked)

    def report(self) -> str:
        """Return the output, which has the exit status 0."""
        out = io.StringIO()
        with mock.patch.object(sys, "stdout", out):
            self.assertEqual(cli.main(["report", "--config", str(self.directory / "config.py")]), 0)
        return out.getvalue()

    def section(self, title: str) -> list[str]:
        """Return the lines of a section."""
        report = f"\n{self.report()}"
        self.assertIn(f"\n{title}:\n", report)
        return [line[2:] for line in report.partition(f"\n{title}:\n")[2].partition("\n\n")[0].splitlines()]

    def configure(self, **values: Any) -> None:
        """Write a configuration."""
        write_config(self.directory, values)


class SectionsTests(ReportCase):
    """What the report has."""

    def test_versions(self) -> None:
        """The versions of errklein, Python, the system and the requirements are shown."""
        lines = self.section("Versions")
        self.assertEqual(lines[0], f"errklein {__version__}")
        self.assertIn(f"Python {sys.version.split()[0]}, SQLite ", lines[1])
        for name in ("Twisted", "klein", *(["psycopg"] if find_spec("psycopg") else [])):
            self.assertTrue([line for line in lines if line.lower().startswith(f"{name.lower()} ")], lines)

    def test_settings(self) -> None:
        """Settings that are set are shown with their sources, and the networks; of plugins' settings, only the names."""
        self.configure(
            NETWORKS={"libera": {"BACKEND": "Null"}, "home": {"BACKEND": "Null", "COLOR": "b1ue"}}, BUILDS_URL="x"
        )
        lines = self.section("Settings")
        self.assertEqual(lines[:2], ["network libera: Null", "network home: Null"])
        self.assertIn("BOT_ADMINS = ('@admin',)  # config.py line 2", lines)
        self.assertIn("BUILDS_URL is set  # config.py line 5", lines)
        self.assertFalse([line for line in lines if "default" in line or "b1ue" in line])

    def test_plugins(self) -> None:
        """Plugins are shown with the commit of their repository, if they have one."""
        # Not below a checkout of errklein.
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        for name in ("first", "second"):
            (folder / name).mkdir()
            (folder / name / f"{name}.plug").write_text(f"[Core]\nName = {name}\nModule = {name}\n")
            (folder / name / f"{name}.py").write_text("")
        git = ["git", "-C", str(folder / "second"), "-c", "user.name=a", "-c", "user.email=a@b"]
        for arguments in (["init", "--quiet"], ["commit", "--quiet", "--allow-empty", "-m", "x"]):
            run([*git, *arguments], seconds=60)
        commit = run([*git, "rev-parse", "HEAD"], seconds=60)[:12]
        self.configure(BOT_EXTRA_PLUGIN_DIR=str(folder))
        self.assertEqual(self.section("Plugins"), ["first", f"second of second at commit {commit}"])

    def test_queues(self) -> None:
        """What waits is counted, also while a bot runs."""
        self.assertEqual(self.section("Queues"), [NO_DELIVERIES, "no bot runs"])
        journal = SQLiteJournal(self.data / DATABASE, InlineReactor(), lambda: 1000.0, runs=INLINE)
        self.addCleanup(journal.close)
        waiting = StoredDelivery(journal.next_id(), "A:a", DeliveryState.RECEIVED, 1000.0, ack="now")
        self.successResultOf(journal.record(waiting))
        self.successResultOf(journal.pause("B:b", True))
        journal.outbox.add(OutgoingMessage(0, "libera", "#ops", "hi"))
        self.successResultOf(journal.outbox.flush())
        self.assertEqual(
            self.section("Queues"),
            [
                "deliveries: 1 waiting, 0 running, 0 dead; paused webhooks: B:b",
                "messages waiting for libera: 1",
                "no bot runs",
            ],
        )

    def test_running_bot(self) -> None:
        """A running bot is asked for its networks and errors; if it can't be asked, the report has the rest."""
        self.patch(DataDirectory, "is_used", lambda _: True)
        found = {
            "networks": [{"name": "libera", "connected_for": 7.4321}, {"name": "office", "connected_for": None}],
            "errors": {"Builds.deploy": 3},
        }
        self.patch(_report, "perform", lambda directory, operation, seconds: found)
        self.assertEqual(
            self.section("Queues"),
            [
                NO_DELIVERIES,
                "network libera: connected for 7 s",
                "network office: not connected",
                "errors of the last hour in Builds.deploy: 3",
            ],
        )
        self.patch(_report, "perform", mock.Mock(side_effect=SystemExit("errklein: the bot hangs")))
        self.assertEqual(self.section("Queues"), ["can't be found out: SystemExit"])

    def test_errors(self) -> None:
        """The latest errors of the log are shown with the places of the exception and without sources; and failed deliveries."""
        log = self.directory / "bot.log"
        self.configure(BOT_LOG_FILE=str(log))
        lines = [
            f"{ERROR} one",
            "\tTraceback (most recent call last):",
            '\t  File "/srv/builds.py", line 7, in build',
            '\t    connect("sesame")',
            "\tbuiltins.ValueError: no",
            "2026-11-28T18:56:07+0000 [errklein.web#info] fine",
        ]
        log.write_text("\n".join([f"{ERROR} {number}" for number in range(9)] + lines) + "\n")
        journal = SQLiteJournal(self.data / DATABASE, InlineReactor(), lambda: 1000.0, runs=INLINE)
        outcome = Outcome(500, "KeyError: 'shop'", 0.1)
        journal.log(StoredDelivery(journal.next_id(), "A:a", DeliveryState.FAILED, 1000.0, outcome=outcome))
        self.successResultOf(journal.close())
        shown = self.section("Errors")
        self.assertEqual(shown[:9], [f"{ERROR} {number}" for number in range(9)])
        self.assertEqual(
            shown[9:13],
            [
                f"{ERROR} one",
                "  Traceback (most recent call last):",
                '    File "/srv/builds.py", line 7, in build',
                "  builtins.ValueError: no",
            ],
        )
        self.assertIn("1 failed A:a", shown[13])
        self.assertIn("KeyError: 'shop'", shown[13])

    def test_without_a_log_file(self) -> None:
        """Without BOT_LOG_FILE, the report says what to add."""
        self.assertIn("journalctl", self.section("Errors")[0])

    def test_one_line_each(self) -> None:
        """Control characters are escaped, so that no text can forge a line or control a terminal."""
        self.checked = ["problem: a\x1b[31m"]
        self.assertEqual(self.section("Check"), ["problem: a\\x1b[31m"])

    def test_configuration_with_an_error(self) -> None:
        """If config.py is invalid, the report says where, without values, and has the rest."""
        (self.directory / "config.py").write_text("token = 'sesame-sesame'\nint(token)\n")
        report = self.report()
        self.assertIn(f"Settings:\n  {self.directory}/config.py raised ValueError at line 2\n", report)
        self.assertNotIn("sesame", report)
        self.assertIn("Versions:\n  errklein", report)

    def test_damaged_files(self) -> None:
        """If a database can't be read, the report says so, has the rest, and no errors, in which its secrets could be."""
        log = self.directory / "bot.log"
        log.write_text(f"{ERROR} with sesame-sesame\n")
        self.configure(BOT_LOG_FILE=str(log))
        for name in ("errklein.sqlite", DATABASE):
            (self.data / name).write_bytes(b"x" * 10_000)
        self.assertEqual(self.section("Errors"), ["can't be found out: DatabaseError"])
        self.assertEqual(self.section("Queues"), ["can't be found out: DatabaseError"])

    def test_memory(self) -> None:
        """A bot that stores nothing has a report."""
        self.configure(STORAGE="Memory")
        self.assertEqual(self.section("Queues"), ["no bot runs"])


class CheckTests(DataCase):
    """The section with the result of `errklein check`."""

    def test_check(self) -> None:
        """States of plugins, problems and warnings are shown, and no lines of sources; a plugin that ends the process ends nothing."""
        needs_network()
        for name, code in (
            ("good", "from errklein import BotPlugin\n\n\nclass Good(BotPlugin): ...\n"),
            ("bad", "sesame = open\nsesame('x')\n"),
        ):
            (self.directory / f"{name}.plug").write_text(f"[Core]\nName = {name}\nModule = {name}\n")
            (self.directory / f"{name}.py").write_text(code)
        self.assertEqual(self.run_command("report"), 0)
        shown = self.out.getvalue().partition("\nCheck:\n")[2].partition("\n\n")[0]
        self.assertIn("  good: can be activated", shown)
        self.assertIn("  problem: bad could not be loaded:", shown)
        self.assertNotIn("sesame(", shown)
        (self.directory / "bad.py").write_text("import os\nos._exit(3)\n")
        self.assertEqual(self.run_command("report"), 0)

    def test_settings_from_the_environment(self) -> None:
        """The check has the settings from the environment, too."""
        needs_network()
        with mock.patch.dict(os.environ, {"ERRKLEIN_SET__BOT_ADMINS": '["*"]'}):
            self.assertEqual(self.run_command("report"), 0)
        shown = self.out.getvalue().partition("\nCheck:\n")[2].partition("\n\n")[0]
        self.assertIn("  warning: BOT_ADMINS has only patterns", shown)


class SecretsTests(ReportCase):
    """Secrets that were planted in all places."""

    @given(SECRETS)
    @settings(max_examples=30)
    def test_no_secret(self, secrets: list[str]) -> None:
        """No secret is printed: of settings, networks, URLs, webhooks, the environment, plugins' configurations, the log or a journal."""
        (
            of_setting,
            of_nick,
            of_sasl,
            of_room,
            of_index,
            of_dsn,
            of_hook,
            of_variable,
            of_plugin,
            of_storage,
            unnamed,
            inner,
            of_source,
            of_room_hook,
        ) = secrets
        # What an earlier example has stored.
        shutil.rmtree(self.data)
        self.data.mkdir()
        log = self.directory / "bot.log"
        irc = {
            "BACKEND": "IRC",
            "BOT_ADMINS": ("alice",),
            "BOT_IDENTITY": {
                "nickname": "errklein",
                "server": "irc.example",
                "nickserv_password": of_nick,
                "sasl_account": "errklein",
                "sasl_password": of_sasl,
            },
            "CHATROOM_PRESENCE": (("#ops", quote(of_room)),),
            "OPS_SECRET": inner,
        }
        self.configure(
            NETWORKS={"libera": irc},
            API_TOKEN=of_setting,
            WHATEVER=unnamed,
            SENTRY_DSN=f"https://{quote(of_dsn, safe='')}@sentry.example/7",
            BOT_PLUGIN_INDEXES=(f"https://bot:{quote(of_index, safe='')}@index.example/repos.json",),
            WEBHOOKS={
                "Builds:build": {"verify": "github", "secret": "env:BUILDS_HOOK"},
                "Builds:tag": {"source": "gitlab", "secret": ["env:TAGS_HOOK"]},
                "code": {"source": "github", "room": "#ops", "secret": "env:CODE_HOOK"},
            },
            STORAGE_CONFIG={"where": of_storage},
            BOT_LOG_FILE=str(log),
        )
        self.store(
            "core",
            configs={"Builds": {"URL": "https://ci.example", "PASSWORD": of_plugin, "inner": [{"api_key": inner}]}},
        )
        known = [of_setting, of_nick, of_sasl, of_hook, of_variable, of_plugin, inner, of_source, of_room_hook]
        log.write_text("".join(f"{ERROR} failed with {text!r}, {quote(text)} and {text}\n" for text in known))
        journal = SQLiteJournal(self.data / DATABASE, InlineReactor(), lambda: 1000.0, runs=INLINE)
        for text in known:
            outcome = Outcome(500, f"ValueError: {text}", 0.1)
            journal.log(
                StoredDelivery(journal.next_id(), "Builds:build", DeliveryState.FAILED, 1000.0, outcome=outcome)
            )
        self.successResultOf(journal.close())
        self.checked = [f"problem: {text}" for text in known]
        with mock.patch.dict(
            os.environ,
            {"BUILDS_HOOK": of_hook, "CI_PASSWORD": of_variable, "TAGS_HOOK": of_source, "CODE_HOOK": of_room_hook},
        ):
            report = self.report()
        self.assertIn("#error]", report)
        self.assertIn("Builds:build", report)
        for secret in secrets:
            for form in {secret, repr(secret)[1:-1], quote(secret, safe="")}:
                self.assertNotIn(form, report)
