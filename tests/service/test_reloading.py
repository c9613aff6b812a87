"""Plugins are reloaded when their files change, and loaded when they are added."""

from __future__ import annotations

import os
from itertools import count, pairwise
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.trial.unittest import SynchronousTestCase

from errklein.networks.test import TestBackend
from errklein.plugins.plug_file import PlugFile
from errklein.plugins.plugin import UnknownPlugin
from errklein.service import reloading
from errklein.service.reloading import INTERVAL, ReloadingBot, affected, snapshot
from errklein.testing import TestBot
from errklein.testing._surroundings import InlinePool
from tests.plugin_files import PluginFilesTestCase


class ChangesTests(SynchronousTestCase):
    """The plugins that a change of files affects."""

    def setUp(self) -> None:
        """Two plugins in one folder, one in another."""
        self.root = Path(self.mktemp()).absolute()
        self.plugs = [
            PlugFile("A", "a", self.root / "both" / "a.plug"),
            PlugFile("B", "b", self.root / "both" / "b.plug"),
            PlugFile("C", "c", self.root / "c" / "c.plug"),
        ]

    def affected(self, *names: str) -> dict[str, list[str]]:
        """The plugins to reload if these files change, each with its files."""
        return affected([self.root / name for name in names], self.plugs)

    def test_affected(self) -> None:
        """A plugin's own files affect this plugin, other files all plugins in the folders above them."""
        self.assertEqual(self.affected("both/a.py"), {"A": ["a.py"]})
        self.assertEqual(self.affected("c/c.py", "both/b.plug"), {"B": ["b.plug"], "C": ["c.py"]})
        self.assertEqual(self.affected("both/helper.py"), {"A": ["helper.py"], "B": ["helper.py"]})
        self.assertEqual(self.affected("c/package/module.py", "c/c.py"), {"C": ["c.py", "package/module.py"]})
        self.assertEqual(self.affected("elsewhere.py"), {})

    def test_snapshots(self) -> None:
        """Written, created and removed source files are found; other files are ignored."""
        self.root.mkdir()
        for name in ("kept.py", "written.py", "removed.plug"):
            (self.root / name).write_text("")
        before = snapshot([self.root])
        os.utime(self.root / "written.py", ns=(1, 1))
        (self.root / "removed.plug").unlink()
        (self.root / "made.py").write_text("")
        (self.root / "notes.txt").write_text("")
        names = {path.name for path, _ in before.items() ^ snapshot([self.root]).items()}
        self.assertEqual(names, {"written.py", "removed.plug", "made.py"})

    def test_disappearing_folder(self) -> None:
        """A folder that disappears during the search doesn't prevent the rest from being found."""
        (self.root / "gone").mkdir(parents=True)
        (self.root / "kept.py").write_text("")
        scan = os.scandir

        def remove_first(path: str | os.PathLike[str]) -> Any:
            if Path(path).name == "gone":
                raise FileNotFoundError(str(path))
            return scan(path)

        self.patch(os, "scandir", remove_first)
        self.assertEqual(set(snapshot([self.root])), {self.root / "kept.py"})


class ReloadingTests(PluginFilesTestCase):
    """A bot in memory that is run with --watch."""

    SOURCE = """
        from errklein import BotPlugin, botcmd

        class {name}(BotPlugin):
            @botcmd
            def {command}(self, message, args):
                return "{reply}"
    """

    def setUp(self) -> None:
        """Start the bot with one plugin."""
        super().setUp()
        self.patch(reloading, "WorkerPool", InlinePool)
        self.versions = count(1)
        self.plugin("Old", self.SOURCE.format(name="Old", command="old", reply="first"))
        self.bot = TestBot(plugin_dirs=[self.directory])
        self.bot.start()
        self.addCleanup(self.bot.stop)
        self.patch(self.bot.bot, "start", self.nothing)
        reloading_bot = ReloadingBot(self.bot.bot, self.bot.reactor)
        self.successResultOf(Deferred.fromCoroutine(reloading_bot.start()))
        self.addCleanup(self.bot.reactor.advance, 0)
        self.addCleanup(reloading_bot._watching.stop)

    async def nothing(self) -> None:
        """Stand in for the start of the bot, which has started already."""

    def pass_time(self) -> None:
        """Let the bot look at the files twice."""
        for _ in range(2):
            self.bot.advance(INTERVAL)

    def rewrite(self, path: str, text: str) -> None:
        """Write a file, with another time of change than before, whatever the resolution of the clock."""
        file = self.write(path, text)
        time = file.stat().st_mtime_ns + next(self.versions)
        os.utime(file, ns=(time, time))

    def add(self, name: str, **values: str) -> None:
        """Add a plugin in a folder of its own."""
        self.plugin(name, self.SOURCE.format(name=name, **values))

    def test_changed_plugin(self) -> None:
        """A changed plugin is reloaded, which is logged."""
        self.rewrite("old/main.py", self.SOURCE.format(name="Old", command="old", reply="second"))
        self.pass_time()
        self.assertEqual(self.bot.command("!old"), "second")
        self.assertIn("Old reloaded, since main.py changed", self.bot.log)
        self.assertEqual(self.bot.sent_to("@admin"), ["second"])

    def test_terminal(self) -> None:
        """In a conversation on the terminal, the success is shown, too."""
        self.patch(self.bot.config.networks["test"], "BACKEND", "Text")
        self.rewrite("old/main.py", self.SOURCE.format(name="Old", command="old", reply="second"))
        self.pass_time()
        self.assertEqual(self.bot.sent_to("@admin"), ["Old reloaded, since main.py changed"])

    def test_terminal_with_pattern(self) -> None:
        """If the administrator is a pattern, the success is only logged."""
        self.patch(self.bot.config.networks["test"], "BACKEND", "Text")
        self.patch(TestBackend, "build_identifier", lambda self, text: int(text))
        self.rewrite("old/main.py", self.SOURCE.format(name="Old", command="old", reply="second"))
        self.pass_time()
        self.assertEqual(self.bot.messages, [])
        self.assertIn("Old reloaded, since main.py changed", self.bot.log)

    def test_invalid_change(self) -> None:
        """An administrator is notified of a change that can't be loaded, once, and the old code replies."""
        self.rewrite("old/main.py", "def (\n")
        self.pass_time()
        self.pass_time()
        [notice] = self.bot.sent_to("@admin")
        self.assertTrue(notice.startswith("Old could not be loaded: "), notice)
        self.assertEqual(self.bot.command("!old"), "first")

    def test_added_plugin(self) -> None:
        """A plugin in a new folder is loaded and activated, which is logged, and reloaded from then on."""
        self.add("New", command="new", reply="first")
        self.pass_time()
        self.assertEqual(self.bot.command("!new"), "first")
        self.assertIn(f"New loaded from {self.directory}/new/New.plug and activated", self.bot.log)
        self.pass_time()
        self.assertNotIn("New reloaded", "\n".join(self.bot.log))
        self.rewrite("new/main.py", self.SOURCE.format(name="New", command="new", reply="second"))
        self.pass_time()
        self.assertEqual(self.bot.command("!new"), "second")

    def test_deleted_plugin(self) -> None:
        """A plugin whose folder is deleted is removed, and loaded again if the folder returns with the same files."""
        (self.directory / "old").rename(self.directory / ".old")
        self.pass_time()
        self.assertIn("not found", self.bot.command("!old"))
        self.assertIn("Old removed, since its .plug file was deleted", self.bot.log)
        (self.directory / ".old").rename(self.directory / "old")
        self.pass_time()
        self.assertEqual(self.bot.command("!old"), "first")

    def test_uninstalled_plugin(self) -> None:
        """Administrators aren't notified of a plugin that a command removes with its files during the search."""
        search = reloading.snapshot

        def uninstall(*places: Any) -> Any:
            self.patch(reloading, "snapshot", search)
            self.successResultOf(self.bot.bot.plugin_manager.remove(["Old"]))
            (self.directory / "old").rename(self.directory / ".old")
            return search(*places)

        self.patch(reloading, "snapshot", uninstall)
        self.pass_time()
        self.assertIn("not found", self.bot.command("!old"))
        self.assertEqual(len(self.bot.messages), 1)
        self.assertNotIn("Old removed", "\n".join(self.bot.log))

    def test_plugin_removed_meanwhile(self) -> None:
        """If a command removes a plugin just before its reload, administrators aren't notified."""
        self.patch(self.bot.bot.plugin_manager, "reload", lambda name: fail(UnknownPlugin(name)))
        self.rewrite("old/main.py", self.SOURCE.format(name="Old", command="old", reply="second"))
        self.pass_time()
        self.assertEqual(self.bot.messages, [])
        self.assertNotIn("Old reloaded", "\n".join(self.bot.log))

    def test_installed_plugin(self) -> None:
        """A plugin that a command loads isn't reloaded when its files are found, and not loaded again if it is removed."""
        self.add("New", command="new", reply="first")
        manager = self.bot.bot.plugin_manager
        self.successResultOf(manager.add([self.directory / "new"]))
        self.successResultOf(manager.activate("New"))
        self.pass_time()
        self.assertNotIn("New reloaded", "\n".join(self.bot.log))
        self.rewrite("new/main.py", self.SOURCE.format(name="New", command="new", reply="second"))
        self.pass_time()
        self.assertEqual(self.bot.command("!new"), "second")
        self.successResultOf(manager.remove(["New"]))
        self.pass_time()
        self.assertIn("not found", self.bot.command("!new"))

    def test_failing_search(self) -> None:
        """A search that fails is logged once, and later ones notice changes again."""
        search = reloading.snapshot

        def refuse(*places: Any) -> Any:
            raise PermissionError("no entry")

        self.patch(reloading, "snapshot", refuse)
        self.pass_time()
        self.patch(reloading, "snapshot", search)
        self.assertEqual(len(self.flushLoggedErrors(PermissionError)), 1)
        self.assertIn("The search for changed files of plugins failed; it is repeated", self.bot.log)
        self.rewrite("old/main.py", self.SOURCE.format(name="Old", command="old", reply="second"))
        self.pass_time()
        self.assertEqual(self.bot.command("!old"), "second")

    def test_added_plugins_that_depend_on_each_other(self) -> None:
        """Plugins that are added together are activated in the order of their dependencies, each once."""
        self.add("First", command="one", reply="1")
        self.add("Second", command="two", reply="2")
        self.rewrite("first/First.plug", "[Core]\nName = First\nModule = main\nDependsOn = Second\n")
        self.pass_time()
        self.assertEqual((self.bot.command("!one"), self.bot.command("!two")), ("1", "2"))
        self.assertEqual(self.bot.sent_to("@admin"), ["1", "2"])

    def test_incomplete_plugin(self) -> None:
        """A plugin that is invalid at first is reported once, and activated when its file is complete."""
        self.write("new/new.plug", "[Core]\nName = New\n")
        self.pass_time()
        self.pass_time()
        [notice] = self.bot.sent_to("@admin")
        self.assertIn("[Core] has no Module", notice)
        self.write("new/main.py", self.SOURCE.format(name="New", command="new", reply="first"))
        self.rewrite("new/new.plug", "[Core]\nName = New\nModule = main\n")
        self.pass_time()
        self.assertEqual(self.bot.command("!new"), "first")

    def test_module_that_appears_later(self) -> None:
        """If the .plug file is saved first, its missing module is reported once, and the plugin is loaded with it."""
        self.write("new/new.plug", "[Core]\nName = New\nModule = main\n")
        self.pass_time()
        self.pass_time()
        [notice] = self.bot.sent_to("@admin")
        self.assertIn("there is no file main.py beside it", notice)
        self.write("new/helper.py", "")
        self.pass_time()
        self.assertEqual(self.bot.sent_to("@admin"), [notice, notice])
        self.write("new/main.py", self.SOURCE.format(name="New", command="new", reply="first"))
        self.pass_time()
        self.assertEqual(self.bot.command("!new"), "first")
        self.rewrite("new/main.py", self.SOURCE.format(name="New", command="new", reply="second"))
        self.pass_time()
        self.assertEqual(self.bot.command("!new"), "second")

    def test_module_that_appears_after_the_start(self) -> None:
        """A .plug file that had no module at the start is loaded when it has one."""
        (self.directory / "lost").mkdir()
        (self.directory / "lost" / "lost.plug").write_text("[Core]\nName = Lost\nModule = lost\n")
        self.successResultOf(self.bot.bot.plugin_manager.add([self.directory / "lost"]))
        self.pass_time()
        self.write("lost/lost.py", self.SOURCE.format(name="Lost", command="lost", reply="found"))
        self.pass_time()
        self.assertEqual(self.bot.command("!lost"), "found")

    def test_broken_code(self) -> None:
        """A new plugin with an error in its code is reported once, and activated when the code is repaired."""
        self.add("New", command="1", reply="first")
        self.pass_time()
        self.pass_time()
        [notice] = self.bot.sent_to("@admin")
        self.assertIn("New could not be loaded: ", notice)
        self.flushLoggedErrors(SyntaxError)
        self.rewrite("new/main.py", self.SOURCE.format(name="New", command="new", reply="first"))
        self.pass_time()
        self.assertEqual(self.bot.command("!new"), "first")

    def test_slow_search(self) -> None:
        """After a search that took a second, the next one is four seconds later."""
        searches: list[float] = []

        def search(directories: object, roots: object = ()) -> dict[Path, int]:
            searches.append(self.bot.reactor.seconds())
            # Not `advance`, which would call the search again.
            self.bot.reactor.rightNow += 1
            return {}

        self.patch(reloading, "snapshot", search)
        for _ in range(12):
            self.bot.advance(INTERVAL)
        self.assertEqual([second - first for first, second in pairwise(searches)], [5])

    def test_blacklisted_plugin(self) -> None:
        """A new folder with a blacklisted plugin is loaded and not activated."""
        self.bot.bot.plugin_manager.set_blacklisted("New", True)
        self.add("New", command="new", reply="first")
        self.pass_time()
        self.assertIn("not found", self.bot.command("!new"))

    def test_failing_activation(self) -> None:
        """A new plugin whose activate method raises is reported to the administrators."""
        self.plugin(
            "New",
            """
            from errklein import BotPlugin

            class New(BotPlugin):
                def activate(self):
                    super().activate()
                    raise ValueError("no token")
            """,
        )
        self.pass_time()
        [notice] = self.bot.sent_to("@admin")
        self.assertTrue(notice.startswith("New could not be activated: "), notice)
        self.assertIn("no token", notice)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
