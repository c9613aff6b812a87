"""Data directories of earlier versions are opened: values, deliveries and messages are all there."""

from __future__ import annotations

import json
import os
import sqlite3
import tarfile
import time
from contextlib import closing
from importlib import import_module
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.threadable import registerAsIOThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from errklein.bot import Bot
from errklein.config import load_config
from errklein.wiring import wire
from tests import needs_network
from tests.upgrades.make import HERE, POSTS, SECRET

ARCHIVES = sorted(HERE.glob("*.tar.xz"))
WAITING = ("retry", "running", "running")
"""The webhooks of the deliveries that were waiting when the bot was killed."""


STATES = {"1": "done", "2": "failed", "3": "done", "4": "dead", "8": "done", "9": "duplicate", "10": "refused"}
"""The states of the other deliveries by their ids."""


class UpgradeTests:
    """The data directory of one version, opened by a bot."""

    archive: Path
    timeout = 60
    bot: Bot
    expected: dict[str, Any]
    handled: list[tuple[str, int]]

    async def setUp(self: Any) -> None:
        """Start a bot with the data directory, an hour after it was made; the network is still down."""
        needs_network()
        from twisted.internet import reactor

        registerAsIOThread()
        self.patch(os, "environ", {**os.environ, "UPGRADES_SECRET": SECRET})
        self.data = Path(self.mktemp()).absolute()
        with tarfile.open(self.archive) as tar:
            tar.extractall(self.data, filter="data")
        self.expected = json.loads((self.data / "expected.json").read_text())
        self.versions = {path.name: schema_of(path) for path in self.data.glob("*.sqlite")}
        self.handled, self.all_handled = [], Deferred()
        # An hour later, when what is retried is due.
        offset = time.time() - self.expected["made"] - 3600
        settings = {
            "NETWORKS": {
                "irc": {"BACKEND": "IRC", "BOT_IDENTITY": {"nickname": "bot", "server": "127.0.0.1", "port": 1}},
                "console": {"BACKEND": "Test"},
            },
            "BOT_ADMINS": ("@admin",),
            "BOT_DATA_DIR": str(self.data),
            "BOT_EXTRA_PLUGIN_DIR": str(HERE / "plugins"),
            "OUTBOX_MAX_AGE": 1e9,
            "HANDLED": lambda name, payload: reactor.callFromThread(self.note, name, payload["number"]),  # type: ignore[attr-defined]
        }
        _, make_bot = wire(reactor, load_config(None, settings), now=lambda: time.time() - offset)
        self.bot = make_bot()
        await self.bot.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(self.bot.stop(1)))
        self.addCleanup(self.flushLoggedErrors)

    def note(self: Any, name: str, number: int) -> None:
        """Record a delivery that was handled."""
        self.handled.append((name, number))
        if self.all_handled is not None and len(self.handled) >= len(WAITING):
            all_handled, self.all_handled = self.all_handled, None
            all_handled.callback(None)

    async def command(self: Any, text: str, words: str = "") -> str:
        """Return the reply to a command, which is the next message that contains the words."""
        backend, done = self.bot.backends["console"], Deferred()
        backend.watch(lambda sent: done.called or words not in sent.text or done.callback(sent.text))
        backend.receive(text, frm="@admin")
        reply: str = await done
        return reply

    async def test_values(self: Any) -> None:
        """All stored values, the configuration, the blacklist and the repositories are there."""
        keeper = self.bot.plugin_manager.get_plugin_obj_by_name("Keeper")
        values = import_module(type(keeper).__module__).values()
        self.assertEqual({key: keeper[key] for key in values}, values)
        self.assertEqual((str(keeper["@ann"]), str(keeper["sender"])), ("@ann", "@admin"))
        self.assertEqual(set(keeper), {*values, "@ann", "sender"})
        self.assertEqual(keeper.config, {"greeting": "moin", "times": 2})
        self.assertIn("Backup", self.bot.plugin_manager.get_blacklisted_plugin())
        self.assertIn("someone/songs", await self.command("!repos", "someone/songs"))

    async def test_deliveries(self: Any) -> None:
        """Deliveries that were waiting are run, the others are listed, and each can be replayed."""
        if not self.expected["statuses"]:
            # This version recorded none.
            return
        await self.all_handled
        self.assertEqual(
            sorted(self.handled), sorted((name, number) for number, name in enumerate(POSTS) if name in WAITING)
        )
        reply = await self.command("!deliveries limit 50", "Receiver:")
        found = {line.split()[0]: line.split()[1] for line in reply.splitlines()}
        self.assertEqual(len(found), len(POSTS), reply)
        self.assertEqual({number: found[number] for number in STATES}, STATES)
        for name, number in (("failed", 1), ("dead", 3), ("done", 0)):
            self.all_handled = Deferred()
            await self.command(f"!delivery replay {number + 1}")
            await self.all_handled
            self.assertEqual(self.handled[-1], (name, number))

    async def test_messages(self: Any) -> None:
        """Messages that were waiting still wait for the network, in their order."""
        if not self.expected["statuses"]:
            # This version stored none.
            return
        with closing(sqlite3.connect(self.data / "journal.sqlite")) as connection:
            rows = connection.execute(
                "SELECT network, recipient, body FROM outbox WHERE owner > 0 ORDER BY id"
            ).fetchall()
        texts = ("done: 0", "later: 2", "signed: 7")
        self.assertEqual(rows, [(b"irc", b"#builds", text.encode()) for text in texts])
        self.assertIn("messages waiting: 3", await self.command("!status", "messages waiting"))

    async def test_old_files(self: Any) -> None:
        """A file that was converted is kept, with the number of the first conversion."""
        for name, version in self.versions.items():
            copies = [path.name for path in self.data.glob(f"{name}.before-*")]
            converted = schema_of(self.data / name) > version
            self.assertEqual(copies, [f"{name}.before-{version + 1}"] if converted else [])
            self.assertEqual([schema_of(self.data / copy) for copy in copies], [version] * len(copies))


def schema_of(path: Path) -> int:
    """Return the version of the file's schema."""
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


class ArchiveTests(SynchronousTestCase):
    """The archives."""

    def test_all_versions(self) -> None:
        """There is a data directory of the first version, and of the last one before the names were settled."""
        self.assertLessEqual({"7faba32", "0bc1ac46"}, {archive.name.removesuffix(".tar.xz") for archive in ARCHIVES})


for _archive in ARCHIVES:
    _name = f"Upgrade{_archive.name.partition('.tar')[0].replace('.', '_')}Tests"
    globals()[_name] = type(_name, (UpgradeTests, TestCase), {"archive": _archive, "__module__": __name__})
