"""Tests for `!repos …`."""

from __future__ import annotations

import json
from pathlib import Path
from unittest import mock

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from errklein.testing import TestBot
from tests.plugins.repos.repositories import GitRepository, plugin_files


class ReposTests(SynchronousTestCase):
    """A bot, and an index on disk with one repository of two plugins."""

    def setUp(self) -> None:
        """Create the index, the repository and the bot."""
        self.top = Path(self.mktemp()).absolute()
        self.origin = GitRepository(
            self.top / "me" / "thing", plugin_files("Thing") | plugin_files("Deep", folder="sub/")
        )
        index = self.top / "index.json"
        plugin = {"repo": str(self.origin.directory), "documentation": "does the thing", "name": "Thing"}
        index.write_text(json.dumps({"me/thing": {"Thing": plugin}}))
        self.bot = TestBot(config={"BOT_PLUGIN_INDEXES": str(index)})
        self.bot.start()
        self.addCleanup(self.bot.stop)

    def say(self, text: str) -> str:
        """Return all replies to a command."""
        return "\n".join(self.bot.say(text))

    def test_install(self) -> None:
        """A repository is found, installed and listed, and its plugins reply; then it is removed with them."""
        self.assertIn("No repositories are installed. Use !repos search KEYWORD", self.say("!repos"))
        found = self.say("!repos search thing")
        self.assertIn("does the thing", found)
        self.assertIn("!repos install NAME", found)
        self.assertIn("No repository matches nowhere", self.say("!repos search nowhere"))
        self.assertIn("All its plugins are active.", self.say("!repos install me/thing"))
        self.assertEqual((self.say("!thing"), self.say("!deep")), ("1", "1"))
        listed = self.say("!repos")
        self.assertIn("me/thing", listed)
        self.assertIn("does the thing", listed)
        self.bot.plugin("Thing")["kept"] = "kept"
        self.assertEqual(
            self.say("!repos uninstall me/thing"),
            "Repository me/thing removed. The stored data of Deep, Thing is kept.",
        )
        self.assertIn("not found", self.say("!thing"))
        self.assertIn("No repositories are installed", self.say("!repos"))
        self.say("!repos install me/thing")
        self.assertEqual(self.bot.plugin("Thing")["kept"], "kept")

    def test_log_of_changes(self) -> None:
        """The log says who has installed, updated and removed which repository, without passwords in its URL."""
        self.say("!repos install me/thing")
        self.say("!repos update all")
        self.say("!repos uninstall me/thing")
        self.say("!repos install gopher://bot:hunter2@127.0.0.1/thing")
        changes = [line.partition("(chat): repos ")[2] for line in self.bot.log if "(chat): repos " in line]
        thing = ["install me/thing", "install me/thing", "update me/thing", "install me/thing", "uninstall me/thing"]
        self.assertEqual(changes, [*thing, "install gopher://•••@127.0.0.1/thing"])

    def test_installing_forbidden(self) -> None:
        """With INSTALL_FROM_CHAT = False, nothing is installed or updated; removing is possible."""
        self.say("!repos install me/thing")
        self.bot.bot.bot_config.INSTALL_FROM_CHAT = False
        for command in ("!repos install me/thing", "!repos update all"):
            self.assertIn("INSTALL_FROM_CHAT is False", self.say(command))
        self.assertIn("Repository me/thing removed", self.say("!repos uninstall me/thing"))

    def test_a_slow_index(self) -> None:
        """While one command reads the index, others wait without using a thread, and all of them reply."""
        going: list[Deferred[None]] = []

        def run(_: object, **options: object) -> Deferred[None]:
            going.append(Deferred())
            return going[-1]

        with mock.patch.object(self.bot.bot.plugin_pool, "run", run):
            for who in ("ann", "bob", "cid"):
                self.assertEqual(self.bot.say("!repos", frm=who), [])
            for number in range(3):
                self.assertEqual(len(going), number + 1)
                going[number].callback(None)
                self.bot.advance(0)
        self.assertEqual([sent.to for sent in self.bot.messages], ["ann", "bob", "cid"])

    def test_too_much_is_found(self) -> None:
        """A search shows the first hundred repositories, and the number of others."""
        plugin = {"repo": "https://host/me/thing", "documentation": "does the thing", "name": "Thing"}
        (self.top / "index.json").write_text(json.dumps({f"me/n{number}": {"Thing": plugin} for number in range(203)}))
        found = self.say("!repos search thing")
        self.assertEqual(found.count("does the thing"), 100)
        self.assertIn("103 more repositories match", found)

    def test_no_index(self) -> None:
        """Without an index, searching and installing by name reply that it can't be read."""
        (self.top / "index.json").unlink()
        self.assertEqual(
            self.say("!repos search thing"), "The index of plugins can't be read; see the log for the reason."
        )
        self.assertIn("no index is available to look up 'me/thing' (", self.say("!repos install me/thing"))

    def test_what_cannot_be_done(self) -> None:
        """Each invalid argument has a reply in one sentence."""
        self.assertIn("Please", self.say("!repos install"))
        self.assertIn("Please", self.say("!repos uninstall"))
        self.assertIn("Please", self.say("!repos update"))
        self.assertIn("Please", self.say("!repos search"))
        self.assertIn("not in the index", self.say("!repos install me/other"))
        self.assertIn("can't be installed", self.say("!repos install ext::sh -c x".replace(" -c x", "")))
        self.assertIn("not installed", self.say("!repos uninstall me/other"))
        self.assertIn("not installed", self.say("!repos update me/other"))

    def test_a_repository_that_does_not_work(self) -> None:
        """A repository without plugins, or with one that can't be loaded, isn't kept."""
        self.origin.commit({"thing.py": "broken(\n"})
        answer = self.say("!repos install me/thing")
        self.assertIn("was not installed", answer)
        self.assertIn("thing.py, line 1", answer)
        self.assertIn("not found", self.say("!deep"))
        self.assertIn("No repositories are installed", self.say("!repos"))
        self.origin.commit({}, removed=("thing.py", "thing.plug", "sub/deep.plug"))
        self.assertIn("it contains no plugin", self.say("!repos install me/thing"))
        manager = self.bot.bot.plugin_manager
        self.assertNotIn("Thing", manager.plugin_infos)
        self.assertEqual(list(self.bot.bot.plugins_directory.iterdir()), [])

    def test_repositories_that_do_not_work_in_rooms(self) -> None:
        """In a room, the reply to an administrator contains an error id and no exception of a plugin."""
        self.bot.config.ACCESS_CONTROLS = {"repos_*": {"allowmuc": True}}
        self.origin.commit({"thing.py": "raise RuntimeError('at a certain place')\n"})
        said = "\n".join(self.bot.say("!repos install me/thing", room="#ops"))
        self.assertRegex(said, r"me/thing was not installed \(error [0-9a-f]{8}\)\.$")
        self.assertNotIn("certain place", said)
        self.assertIn("certain place", self.say("!repos install me/thing"))
        self.flushLoggedErrors(RuntimeError)

    def test_update(self) -> None:
        """An update adds and reloads plugins, and removes those that are gone, in subdirectories too."""
        self.say("!repos install me/thing")
        changed = plugin_files("Deep", "2", "sub/") | plugin_files("Fresh")
        self.origin.commit(changed, removed=("thing.py", "thing.plug"))
        answer = self.say("!repos update all")
        self.assertIn("Deep, Fresh, Thing (removed)", answer)
        self.assertEqual((self.say("!deep"), self.say("!fresh")), ("2", "1"))
        self.assertIn("not found", self.say("!thing"))

    def test_an_update_of_an_inactive_plugin(self) -> None:
        """An inactive plugin stays inactive after an update, and the reply names it."""
        self.say("!repos install me/thing")
        self.say("!plugin deactivate Deep")
        self.origin.commit(plugin_files("Deep", "2", "sub/"))
        self.assertIn("Deep (inactive), Thing.", self.say("!repos update all"))
        self.assertIn("not found", self.say("!deep"))

    def test_an_update_that_breaks_a_plugin(self) -> None:
        """If an updated plugin can't be loaded, the old code stays, on disk too, and the reply contains the error."""
        self.say("!repos install me/thing")
        self.origin.commit({**plugin_files("Deep", "2", "sub/"), "thing.py": "broken(\n"})
        answer = self.say("!repos update me/thing")
        self.assertIn("its plugins are as before", answer)
        self.assertIn("thing.py, line 1", answer)
        self.assertEqual((self.say("!thing"), self.say("!deep")), ("1", "1"))
        self.assertIn("return '1'", (self.bot.bot.plugins_directory / "me/thing/thing.py").read_text())

    def hang(self, name: str) -> Deferred[None]:
        """Make the plugin's `deactivate` hang until the Deferred fires."""
        gate: Deferred[None] = Deferred()
        plugin = self.bot.plugin(name)
        type(plugin).deactivate = lambda self: gate
        return gate

    def after(self, command: str, seconds: float) -> str:
        """Return all replies to a command within that many seconds."""
        before = len(self.bot.messages)
        self.bot.say(command)
        self.bot.advance(seconds)
        return "\n".join(message.text for message in self.bot.messages[before:])

    def test_an_update_with_a_plugin_that_hangs(self) -> None:
        """An update succeeds although a plugin's old code hangs, and the reply names the method."""
        self.say("!repos install me/thing")
        gate = self.hang("Thing")
        self.origin.commit(plugin_files("Thing", "2") | plugin_files("Deep", "2", "sub/"))
        answer = self.after("!repos update me/thing", 60)
        self.assertIn("me/thing is up to date", answer)
        self.assertIn("Thing.deactivate of the old code has not returned after 60 s", answer)
        self.assertEqual((self.say("!thing"), self.say("!deep")), ("2", "2"))
        gate.callback(None)

    def test_a_plugin_that_hangs_is_uninstalled(self) -> None:
        """A repository is removed although one of its plugins hangs, and the reply names the method."""
        self.say("!repos install me/thing")
        gate = self.hang("Thing")
        answer = self.after("!repos uninstall me/thing", 60)
        self.assertIn("Repository me/thing removed", answer)
        self.assertIn("Thing.deactivate has not returned after 60 s", answer)
        self.assertIn("No repositories are installed", self.say("!repos"))
        self.assertIn("not found", self.say("!thing"))
        gate.callback(None)

    def test_a_name_that_is_taken(self) -> None:
        """A plugin with the name of another is ignored, and a repository with no other plugin isn't installed."""
        self.origin.commit(plugin_files("Help"), removed=("thing.py", "thing.plug", "sub/deep.plug"))
        answer = self.say("!repos install me/thing")
        self.assertIn("a plugin named Help already exists", answer)
        manager = self.bot.bot.plugin_manager
        self.assertEqual(manager.remark(manager.plugin("Help")), "")


class StartTests(SynchronousTestCase):
    """A bot that starts with installed repositories."""

    def test_installed_plugins_are_there_after_a_start(self) -> None:
        """Repositories are searched for plugins at the start."""
        bot = TestBot()
        directory = bot.bot.plugins_directory / "me" / "thing"
        directory.mkdir(parents=True)
        for name, text in plugin_files("Thing").items():
            (directory / name).write_text(text)
        bot.bot.repo_manager["installed_repos"] = {"me/thing": "https://example.org/me/thing"}
        bot.start()
        self.addCleanup(bot.stop)
        self.assertEqual(bot.command("!thing"), "1")
        self.assertEqual(bot.plugin("Thing").plugin_dir, str(bot.bot.plugins_directory))
