"""Tests for the manager of repositories: the index, installing, updating, removing."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from errklein.plugins.repos import BotRepoManager, RepoException
from errklein.storage import MemoryStorage
from tests.plugins.repos.repositories import FileServer, GitRepository, archive, plugin_files


def known(repo: str, documentation: str, name: str = "Thing") -> dict[str, Any]:
    """A repository in an index, with one plugin."""
    return {name: {"repo": repo, "documentation": documentation, "name": name, "path": "/x.plug", "python": "3"}}


class ManagerTests(SynchronousTestCase):
    """A manager with an index on disk and a server on loopback."""

    def setUp(self) -> None:
        """Make them."""
        self.top = Path(self.mktemp()).absolute()
        self.origin = GitRepository(self.top / "me" / "thing", plugin_files("Thing"))
        self.server = FileServer()
        self.addCleanup(self.server.close)
        self.index = self.top / "index.json"
        self.write_index({"me/thing": known(str(self.origin.directory), "does the thing")})
        self.time = 1_000_000.0
        self.manager = self.make([str(self.index)])

    def make(self, indexes: Any) -> BotRepoManager:
        """A manager with these indexes."""
        return BotRepoManager(MemoryStorage(), self.top / "plugins", indexes, lambda: self.time)

    def write_index(self, index: Any) -> None:
        """Write the index on disk."""
        self.index.write_text(json.dumps(index))

    def refused(self, repo: str, manager: BotRepoManager | None = None) -> str:
        """Why the repository isn't installed; nothing is left of it."""
        with self.assertRaises(RepoException) as raised:
            (self.manager if manager is None else manager).install_repo(repo)
        if (self.top / "plugins").exists():
            self.assertEqual([path for path in (self.top / "plugins").rglob("*") if path.is_file()], [])
        text = str(raised.exception)
        self.assertEqual(len(text.splitlines()), 1)
        return text

    def test_install_by_name(self) -> None:
        """A repository in the index is installed under its name, and known from then on."""
        path = self.manager.install_repo("me/thing")
        self.assertTrue((Path(path) / "thing.plug").exists())
        self.assertEqual(self.manager.get_installed_plugin_repos(), {"me/thing": str(self.origin.directory)})
        self.assertEqual(self.manager.get_all_repos_paths(), [path])
        with self.assertRaisesRegex(RepoException, "already there"):
            self.manager.install_repo("me/thing")

    def test_names_that_lead_elsewhere(self) -> None:
        """Plugins are loaded from the directory of repositories only, whatever a backup says is installed."""
        path = self.manager.install_repo("me/thing")
        names = ("/tmp/elsewhere", "../elsewhere", "me/../../elsewhere", "..", "", "me/thing/more")
        self.manager.set_plugin_repos(
            {**self.manager.get_installed_plugin_repos(), **dict.fromkeys(names, "https://example.org/x.git")}
        )
        self.assertEqual(self.manager.get_all_repos_paths(), [path])

    def test_install_by_url(self) -> None:
        """A repository that is in no index is installed by its URL."""
        path = self.manager.install_repo(f"file://{self.origin.directory}")
        self.assertEqual(Path(path), self.top / "plugins" / "me" / "thing")

    def test_install_archive(self) -> None:
        """An archive is fetched and unpacked, and an update fetches it again; one that fails changes nothing."""
        self.server.bodies["/me/it.tar.gz"] = archive(plugin_files("Thing", folder="it-1/"))
        path = Path(self.manager.install_repo(f"{self.server.url}/me/it.tar.gz"))
        self.assertTrue((path / "thing.plug").exists())
        self.server.bodies["/me/it.tar.gz"] = archive(plugin_files("Other", folder="it-2/"))
        updated = self.manager.renew("me/it.tar.gz")
        self.assertEqual(sorted(file.name for file in path.iterdir()), ["other.plug", "other.py"])
        updated.undo()
        self.assertEqual(sorted(file.name for file in path.iterdir()), ["thing.plug", "thing.py"])
        self.server.bodies["/me/it.tar.gz"] = b"nonsense"
        ((where, done, told),) = self.manager.update_all_repos()
        self.assertEqual((where, done), (str(path), False))
        self.assertIn("can't be read", told)
        self.assertEqual(sorted(file.name for file in path.iterdir()), ["thing.plug", "thing.py"])
        self.assertEqual([entry.name for entry in (self.top / "plugins").iterdir()], ["me"])

    def test_install_local_archive(self) -> None:
        """An archive on this machine is installed by its file URL or its path, and an update reads it again."""
        place = self.top / "me" / "local.tar.gz"
        place.write_bytes(archive(plugin_files("Thing", folder="it-1/")))
        path = Path(self.manager.install_repo(f"file://{place}"))
        self.assertEqual(path, self.top / "plugins" / "me" / "local.tar.gz")
        self.assertEqual(sorted(file.name for file in path.iterdir()), ["thing.plug", "thing.py"])
        place.write_bytes(archive(plugin_files("Other", folder="it-2/")))
        self.manager.renew("me/local.tar.gz").keep()
        self.assertEqual(sorted(file.name for file in path.iterdir()), ["other.plug", "other.py"])
        self.manager.uninstall_repo("me/local.tar.gz")
        self.assertEqual(Path(self.manager.install_repo(str(place))), path)

    def test_refused_local_archive(self) -> None:
        """A missing archive, a directory and a pipe are refused, and reading the pipe doesn't wait for a writer."""
        self.assertIn("No such file", self.refused(f"file://{self.top}/none.tar.gz"))
        (self.top / "directory.tar.gz").mkdir()
        self.assertIn("not a regular file", self.refused(str(self.top / "directory.tar.gz")))
        os.mkfifo(self.top / "pipe.tar.gz")
        self.assertIn("not a regular file", self.refused(f"file://{self.top}/pipe.tar.gz"))

    def test_refused(self) -> None:
        """What can't be had is told in one line, and nothing is left of it."""
        self.assertIn("not in the index", self.refused("me/other"))
        self.assertIn("404", self.refused(f"{self.server.url}/me/none.tar.gz"))
        self.assertIn("git", self.refused(str(self.top / "nothing")))
        self.assertIn("the name or URL of a repository is missing", self.refused(" "))
        self.server.redirects["/me/evil.tar.gz"] = f"file://{self.index}"
        self.assertIn("evil.tar.gz", self.refused(f"{self.server.url}/me/evil.tar.gz"))
        self.server.bodies["/me/links.tar.gz"] = archive({"../x": "1"})
        self.assertIn("leads out of its directory", self.refused(f"{self.server.url}/me/links.tar.gz"))

    def test_name_and_password(self) -> None:
        """What stands before the host is for the server, as HTTP has it; not for the one that it redirects to."""
        self.server.bodies["/me/there.tar.gz"] = archive({"x/a": "1"})
        elsewhere = self.server.url.replace("127.0.0.1", "localhost")
        self.server.redirects["/me/here.tar.gz"] = f"{elsewhere}/me/there.tar.gz"
        self.manager.install_repo(f"{self.server.url.replace('//', '//user:p%40ss@')}/me/here.tar.gz")
        self.assertEqual(self.server.credentials, ["Basic dXNlcjpwQHNz", None])

    def test_links(self) -> None:
        """Links within a repository are its own; one that leads out is refused, in an update too, which is taken back."""
        (self.origin.directory / "same.py").symlink_to("thing.py")
        self.origin.commit({})
        path = Path(self.manager.install_repo(str(self.origin.directory)))
        self.assertTrue((path / "same.py").is_file())
        name = self.manager.name_of(path)
        (self.origin.directory / "all").symlink_to("/")
        self.origin.commit({"new.txt": "1"})
        with self.assertRaisesRegex(RepoException, "'all' is a link that leads out"):
            self.manager.renew(name)
        self.assertEqual([(path / file).exists() for file in ("all", "new.txt", "same.py")], [False, False, True])
        self.manager.uninstall_repo(name)
        self.assertIn("leads out of the repository", self.refused(str(self.origin.directory)))

    def test_depth(self) -> None:
        """A repository whose directories go on and on is refused."""
        self.origin.commit({"d/" * 60 + "x": "1"})
        self.assertIn("more than 50 directories", self.refused(str(self.origin.directory)))

    def test_a_remote_index_names_no_path(self) -> None:
        """A repository that an index from elsewhere places on this machine is refused."""
        self.server.bodies["/index.json"] = self.index.read_bytes()
        manager = self.make(f"{self.server.url}/index.json")
        self.assertIn("only administrators may install", self.refused("me/thing", manager))

    def test_search(self) -> None:
        """Each word has to occur, in the name or the description."""
        index = {"me/thing": known("https://h/me/thing", "Does the thing"), "me/other": known("https://h/o", "other")}
        self.write_index(index)
        self.assertEqual([entry.entry_name for entry in self.manager.search_repos("THING does")], ["me/thing"])
        self.assertEqual([entry.entry_name for entry in self.manager.search_repos("me")], ["me/thing", "me/other"])
        self.assertEqual(list(self.manager.search_repos("thing nowhere")), [])
        self.assertEqual(list(self.manager.search_repos("")), [])

    def test_several_indexes(self) -> None:
        """All are read; of a repository in several, the first one tells. What is on this machine only a file on it can say."""
        (self.top / "first.json").write_text(json.dumps({"me/it": known("https://first/it", "does it")}))
        both = {"me/it": known("https://second/it", "does it"), "me/here": known(str(self.top), "is here", "Here")}
        self.server.bodies["/second"] = json.dumps(both).encode()
        manager = self.make([str(self.top / "first.json"), f"{self.server.url}/second"])
        list(manager.search_repos("it"))
        self.assertEqual([entry.repo for entry in manager.get_repo_from_index("me/it")], ["https://first/it"])
        self.assertEqual([entry.name for entry in manager.search_repos("here")], ["Here"])
        self.assertIn("on this machine", str(self.assertRaises(RepoException, manager.install_repo, "me/here")))

    def test_indexes_that_can_not_be_read(self) -> None:
        """They are passed over."""
        self.server.bodies["/broken"] = b"{"
        self.server.bodies["/list"] = b"[]"
        places = [f"{self.server.url}/{name}" for name in ("none", "broken", "list")]
        manager = self.make([*places, str(self.top / "no.json"), str(self.index)])
        self.assertEqual([entry.name for entry in manager.search_repos("thing")], ["Thing"])
        self.assertEqual(self.server.asked, ["/none", "/broken", "/list"])

    def test_the_index_is_read_each_hour(self) -> None:
        """It is read anew on use when it is an hour old; the old one stays if that fails."""
        list(self.manager.search_repos("x"))
        self.write_index({"me/other": known("https://h/o", "other")})
        self.time += 3599
        self.assertEqual(len(list(self.manager.search_repos("thing"))), 1)
        self.time += 2
        self.assertEqual(len(list(self.manager.search_repos("other"))), 1)
        self.time += 3601
        self.index.unlink()
        self.assertEqual(len(list(self.manager.search_repos("other"))), 1)

    def test_an_index_that_is_not_to_be_had(self) -> None:
        """After a failure nobody is asked again for a minute."""
        manager = self.make(f"{self.server.url}/none")
        for seconds, asked in ((0, 1), (59, 1), (2, 2)):
            self.time += seconds
            self.assertEqual(list(manager.search_repos("thing")), [])
            self.assertEqual(len(self.server.asked), asked)

    def test_nonsense_in_the_index(self) -> None:
        """What isn't as it should be in an index is passed over."""
        for index in ({"a": 1, "b": {"c": 2}, "d": {"e": {"repo": 3}}, "f": None}, {"last_update": "never"}):
            self.write_index(index)
            self.time += 7200
            self.assertEqual(list(self.manager.search_repos("a")), [])
            self.assertEqual(self.manager.get_repo_from_index("a"), [])

    def test_update(self) -> None:
        """An update has the newest state, which can be undone."""
        path = Path(self.manager.install_repo("me/thing"))
        self.origin.commit({"new.txt": "new"})
        self.assertEqual(
            list(self.manager.update_repos(["me/thing", "nope"])), [(str(path), True, "It is up to date.")]
        )
        self.assertTrue((path / "new.txt").exists())
        self.origin.commit({"new.txt": "newer"})
        updated = self.manager.renew("me/thing")
        self.assertEqual((path / "new.txt").read_text(), "newer")
        updated.undo()
        self.assertEqual((path / "new.txt").read_text(), "new")

    def test_uninstall(self) -> None:
        """The directory goes, and the entry with it; what isn't installed is no KeyError without a word."""
        path = Path(self.manager.install_repo("me/thing"))
        self.manager.uninstall_repo("me/thing")
        self.assertFalse(path.exists())
        self.assertEqual(self.manager.get_installed_plugin_repos(), {})
        with self.assertRaisesRegex(KeyError, "not installed"):
            self.manager.uninstall_repo("me/thing")

    def test_a_stored_name_that_leads_elsewhere(self) -> None:
        """Nothing outside is removed, whatever the storage says."""
        self.manager.add_plugin_repo("../me", "https://h/me")
        with self.assertRaises(RepoException):
            self.manager.uninstall_repo("../me")
        self.assertTrue(self.origin.directory.exists())
