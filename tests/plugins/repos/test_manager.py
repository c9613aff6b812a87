"""Tests for the index, and for installing, updating and removing repositories."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from errklein.http_client import HTTPClients
from errklein.plugins.repos import BotRepoManager, Downloads, RepoException, sources
from errklein.running import ThreadWaits, blocking_here, register_reactor_thread
from errklein.storage import MemoryStorage
from errklein.testing import StubHTTP, TestReactor
from tests.plugins.repos.repositories import GitRepository, archive, plugin_files

SERVER = "https://plugins.example"


def downloads(http: StubHTTP) -> Downloads:
    """Return downloads from a server in memory."""
    reactor = TestReactor()
    register_reactor_thread(reactor)
    return Downloads(HTTPClients(reactor, http.agent), ThreadWaits(reactor))


def known(repo: str, documentation: str, name: str = "Thing") -> dict[str, Any]:
    """Return an index entry of a repository with one plugin."""
    return {name: {"repo": repo, "documentation": documentation, "name": name, "path": "/x.plug", "python": "3"}}


class ManagerTests(SynchronousTestCase):
    """A manager with an index on disk and a server in memory."""

    def setUp(self) -> None:
        """Create the manager, the index and the repository."""
        self.top = Path(self.mktemp()).absolute()
        self.origin = GitRepository(self.top / "me" / "thing", plugin_files("Thing"))
        self.http = StubHTTP()
        self.index = self.top / "index.json"
        self.write_index({"me/thing": known(str(self.origin.directory), "does the thing")})
        self.time = 1_000_000.0
        self.manager = self.make([str(self.index)])

    def make(self, indexes: Any) -> BotRepoManager:
        """Return a manager with these indexes."""
        return BotRepoManager(MemoryStorage(), self.top / "plugins", indexes, downloads(self.http), lambda: self.time)

    def run(self, result: Any) -> Any:
        """Run the test as a thread, which may wait."""
        with blocking_here():
            return super().run(result)

    def write_index(self, index: Any) -> None:
        """Write the index to disk."""
        self.index.write_text(json.dumps(index))

    def refused(self, repo: str, manager: BotRepoManager | None = None) -> str:
        """Return the reason why the repository isn't installed, and check that nothing is left."""
        with self.assertRaises(RepoException) as raised:
            (self.manager if manager is None else manager).install_repo(repo)
        if (self.top / "plugins").exists():
            self.assertEqual([path for path in (self.top / "plugins").rglob("*") if path.is_file()], [])
        text = str(raised.exception)
        self.assertEqual(len(text.splitlines()), 1)
        return text

    def test_install_by_name(self) -> None:
        """A repository in the index is installed and recorded under its name."""
        path = self.manager.install_repo("me/thing")
        self.assertTrue((Path(path) / "thing.plug").exists())
        self.assertEqual(self.manager.get_installed_plugin_repos(), {"me/thing": str(self.origin.directory)})
        self.assertEqual(self.manager.get_all_repos_paths(), [path])
        with self.assertRaisesRegex(RepoException, "already installed"):
            self.manager.install_repo("me/thing")

    def test_names_that_lead_elsewhere(self) -> None:
        """Plugins are loaded only from the directory of repositories, even if a backup names other paths."""
        path = self.manager.install_repo("me/thing")
        names = ("/tmp/elsewhere", "../elsewhere", "me/../../elsewhere", "..", "", "me/thing/more")
        self.manager.set_plugin_repos(
            {**self.manager.get_installed_plugin_repos(), **dict.fromkeys(names, "https://example.org/x.git")}
        )
        self.assertEqual(self.manager.get_all_repos_paths(), [path])

    def test_install_by_url(self) -> None:
        """A repository that isn't in an index is installed by its URL."""
        path = self.manager.install_repo(f"file://{self.origin.directory}")
        self.assertEqual(Path(path), self.top / "plugins" / "me" / "thing")

    def test_install_archive(self) -> None:
        """An archive is downloaded and unpacked; an update downloads it again, and a failed one changes nothing."""
        self.http.respond("GET", f"{SERVER}/me/it.tar.gz", body=archive(plugin_files("Thing", folder="it-1/")))
        path = Path(self.manager.install_repo(f"{SERVER}/me/it.tar.gz"))
        self.assertTrue((path / "thing.plug").exists())
        self.http.respond("GET", f"{SERVER}/me/it.tar.gz", body=archive(plugin_files("Other", folder="it-2/")))
        undo, _ = self.manager.renew("me/it.tar.gz")
        self.assertEqual(sorted(file.name for file in path.iterdir()), ["other.plug", "other.py"])
        undo()
        self.assertEqual(sorted(file.name for file in path.iterdir()), ["thing.plug", "thing.py"])
        self.http.respond("GET", f"{SERVER}/me/it.tar.gz", body=b"nonsense")
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
        _, keep = self.manager.renew("me/local.tar.gz")
        keep()
        self.assertEqual(sorted(file.name for file in path.iterdir()), ["other.plug", "other.py"])
        self.manager.uninstall_repo("me/local.tar.gz")
        self.assertEqual(Path(self.manager.install_repo(str(place))), path)

    def test_refused_local_archive(self) -> None:
        """A missing archive, a directory and a pipe are rejected, without waiting for a writer of the pipe."""
        self.assertIn("No such file", self.refused(f"file://{self.top}/none.tar.gz"))
        (self.top / "directory.tar.gz").mkdir()
        self.assertIn("not a regular file", self.refused(str(self.top / "directory.tar.gz")))
        os.mkfifo(self.top / "pipe.tar.gz")
        self.assertIn("not a regular file", self.refused(f"file://{self.top}/pipe.tar.gz"))

    def test_refused(self) -> None:
        """Each error is one line, and no files are left."""
        self.assertIn("not in the index", self.refused("me/other"))
        self.http.respond("GET", f"{SERVER}/me/none.tar.gz", status=404)
        self.assertIn("responded with 404 Not Found", self.refused(f"{SERVER}/me/none.tar.gz"))
        self.http.fail("GET", f"{SERVER}/me/none.tar.gz", ConnectionRefusedError("nobody listens"))
        self.assertIn("ConnectionRefusedError: nobody listens", self.refused(f"{SERVER}/me/none.tar.gz"))
        self.http.fail("GET", f"{SERVER}/me/none.tar.gz", TimeoutError())
        self.assertIn("exceeded the timeout of 300 s", self.refused(f"{SERVER}/me/none.tar.gz"))
        self.patch(sources, "MOST_PACKED", 1_000_000)
        self.http.respond("GET", f"{SERVER}/me/none.tar.gz", body=b"x" * 1_000_001)
        self.assertIn("is larger than 1 MB", self.refused(f"{SERVER}/me/none.tar.gz"))
        self.assertIn("git", self.refused(str(self.top / "nothing")))
        self.assertIn("the name or URL of a repository is missing", self.refused(" "))
        self.http.respond("GET", f"{SERVER}/me/evil.tar.gz", status=302, headers={"Location": f"file://{self.index}"})
        self.assertIn("evil.tar.gz", self.refused(f"{SERVER}/me/evil.tar.gz"))
        self.http.respond("GET", f"{SERVER}/me/links.tar.gz", body=archive({"../x": "1"}))
        self.assertIn("leads out of its directory", self.refused(f"{SERVER}/me/links.tar.gz"))

    def test_name_and_password(self) -> None:
        """User name and password in a URL are sent to its server only, not after a redirect."""
        elsewhere = "https://elsewhere.example/me/there.tar.gz"
        self.http.respond("GET", elsewhere, body=archive({"x/a": "1"}))
        self.http.respond("GET", f"{SERVER}/me/here.tar.gz", status=302, headers={"Location": elsewhere})
        self.manager.install_repo(f"{SERVER.replace('//', '//user:p%40ss@')}/me/here.tar.gz")
        sent = [request.header("Authorization") for request in self.http.requests]
        self.assertEqual(sent, ["Basic dXNlcjpwQHNz", None])
        self.assertNotIn("@", self.http.requests[0].url)

    def test_links(self) -> None:
        """Links within a repository work; links that lead out are rejected, also in an update, which is undone."""
        (self.origin.directory / "same.py").symlink_to("thing.py")
        self.origin.commit({})
        path = Path(self.manager.install_repo(str(self.origin.directory)))
        self.assertTrue((path / "same.py").is_file())
        name = str(path.relative_to(self.manager.plugin_dir))
        (self.origin.directory / "all").symlink_to("/")
        self.origin.commit({"new.txt": "1"})
        with self.assertRaisesRegex(RepoException, "'all' is a link that leads out"):
            self.manager.renew(name)
        self.assertEqual([(path / file).exists() for file in ("all", "new.txt", "same.py")], [False, False, True])
        self.manager.uninstall_repo(name)
        self.assertIn("leads out of the repository", self.refused(str(self.origin.directory)))

    def test_depth(self) -> None:
        """A repository with directories that are nested too deep is rejected."""
        self.origin.commit({"d/" * 60 + "x": "1"})
        self.assertIn("nested more than 50 deep", self.refused(str(self.origin.directory)))

    def test_a_remote_index_names_no_path(self) -> None:
        """A local path in a remote index is rejected."""
        self.http.respond("GET", f"{SERVER}/index.json", body=self.index.read_bytes())
        manager = self.make(f"{SERVER}/index.json")
        self.assertIn("only administrators may install", self.refused("me/thing", manager))

    def test_search(self) -> None:
        """Each word must occur in the name or the description."""
        index = {"me/thing": known("https://h/me/thing", "Does the thing"), "me/other": known("https://h/o", "other")}
        self.write_index(index)
        self.assertEqual([entry.entry_name for entry in self.manager.search_repos("THING does")], ["me/thing"])
        self.assertEqual([entry.entry_name for entry in self.manager.search_repos("me")], ["me/thing", "me/other"])
        self.assertEqual(list(self.manager.search_repos("thing nowhere")), [])
        self.assertEqual(list(self.manager.search_repos("")), [])

    def test_several_indexes(self) -> None:
        """All indexes are read; the first one with a repository counts. Only local indexes may name local paths."""
        (self.top / "first.json").write_text(json.dumps({"me/it": known("https://first/it", "does it")}))
        both = {"me/it": known("https://second/it", "does it"), "me/here": known(str(self.top), "is here", "Here")}
        self.http.respond("GET", f"{SERVER}/second", body=json.dumps(both).encode())
        manager = self.make([str(self.top / "first.json"), f"{SERVER}/second"])
        list(manager.search_repos("it"))
        self.assertEqual([entry.repo for entry in manager.get_repo_from_index("me/it")], ["https://first/it"])
        self.assertEqual([entry.name for entry in manager.search_repos("here")], ["Here"])
        self.assertIn("on this machine", str(self.assertRaises(RepoException, manager.install_repo, "me/here")))

    def test_indexes_that_can_not_be_read(self) -> None:
        """Unreadable indexes are skipped."""
        self.http.respond("GET", f"{SERVER}/broken", body=b"{")
        self.http.respond("GET", f"{SERVER}/list", body=b"[]")
        self.http.respond("GET", f"{SERVER}/none", status=404)
        places = [f"{SERVER}/{name}" for name in ("none", "broken", "list")]
        manager = self.make([*places, str(self.top / "no.json"), str(self.index)])
        self.assertEqual([entry.name for entry in manager.search_repos("thing")], ["Thing"])
        self.assertEqual([request.url for request in self.http.requests], places)

    def test_the_index_is_read_each_hour(self) -> None:
        """The index is read again when it is an hour old; if that fails, the old one stays."""
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
        """After a failure, the index isn't requested for a minute."""
        self.http.respond("GET", f"{SERVER}/none", status=404)
        manager = self.make(f"{SERVER}/none")
        for seconds, asked in ((0, 1), (59, 1), (2, 2)):
            self.time += seconds
            self.assertEqual(list(manager.search_repos("thing")), [])
            self.assertEqual(len(self.http.requests), asked)

    def test_nonsense_in_the_index(self) -> None:
        """Invalid entries of an index are skipped."""
        for index in ({"a": 1, "b": {"c": 2}, "d": {"e": {"repo": 3}}, "f": None}, {"last_update": "never"}):
            self.write_index(index)
            self.time += 7200
            self.assertEqual(list(self.manager.search_repos("a")), [])
            self.assertEqual(self.manager.get_repo_from_index("a"), [])

    def test_update(self) -> None:
        """An update has the newest state, and can be undone."""
        path = Path(self.manager.install_repo("me/thing"))
        self.origin.commit({"new.txt": "new"})
        self.assertEqual(
            list(self.manager.update_repos(["me/thing", "nope"])), [(str(path), True, "It is up to date.")]
        )
        self.assertTrue((path / "new.txt").exists())
        self.origin.commit({"new.txt": "newer"})
        undo, _ = self.manager.renew("me/thing")
        self.assertEqual((path / "new.txt").read_text(), "newer")
        undo()
        self.assertEqual((path / "new.txt").read_text(), "new")

    def test_uninstall(self) -> None:
        """The directory and its record are removed; a repository that isn't installed is an error with a text."""
        path = Path(self.manager.install_repo("me/thing"))
        self.manager.uninstall_repo("me/thing")
        self.assertFalse(path.exists())
        self.assertEqual(self.manager.get_installed_plugin_repos(), {})
        with self.assertRaisesRegex(KeyError, "not installed"):
            self.manager.uninstall_repo("me/thing")

    def test_a_stored_name_that_leads_elsewhere(self) -> None:
        """Stored names with other paths don't remove anything outside."""
        self.manager.add_plugin_repo("../me", "https://h/me")
        with self.assertRaises(RepoException):
            self.manager.uninstall_repo("../me")
        self.assertTrue(self.origin.directory.exists())
