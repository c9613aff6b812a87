"""Tests for URLs and names of repositories."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein.plugins.repos.sources import RepoException, RepoSource, human_name_for_git_url, is_archive


class NameTests(SynchronousTestCase):
    """Names of repositories."""

    def test_names(self) -> None:
        """The name is the last two parts of the URL, without .git."""
        for url, name in (
            ("https://github.com/errbotio/err-imagebot.git", "errbotio/err-imagebot"),
            ("https://github.com/a/b/", "a/b"),
            ("git@github.com:a/b.git", "a/b"),
            ("https://host/x.tar.gz", "host/x.tar.gz"),
            ("https://user:pass@host/x.git", "host/x"),
            ("/srv/x/y", "x/y"),
            ("a/b", "a/b"),
        ):
            self.assertEqual(human_name_for_git_url(url), name, url)


class SourceTests(SynchronousTestCase):
    """URLs that are accepted, and URLs that are rejected."""

    def test_taken(self) -> None:
        """https, http, ssh and scp-like URLs, archives and paths are accepted."""
        for url in (
            "https://github.com/a/b",
            "http://127.0.0.1:8080/a/b.git",
            "ssh://git@host/a/b",
            "git@host:a/b.git",
            "/srv/git/a/b",
            "file:///srv/git/a/b",
        ):
            self.assertEqual(RepoSource.of(url), RepoSource("a/b", url))
        self.assertTrue(is_archive(RepoSource.of("https://host/a/b.tar.gz").url))

    def test_refused(self) -> None:
        """Options and commands of git, other transports, and names with other paths are rejected."""
        for url in (
            "",
            "-",
            "--upload-pack=touch /tmp/x",
            "ext::sh -c touch% /tmp/x",
            "ext::sh",
            "fd::7",
            "git://host/a/b",
            "ftp://host/a/b",
            "javascript:alert(1)",
            "ssh://-oProxyCommand=x/a/b",
            "ssh://git@-oProxyCommand=x/a/b",
            "-oProxyCommand=x@host:a/b",
            "git@-oProxyCommand=x:a/b",
            "git@host:-x",
            "https://",
            "https:///a/b",
            "https://host/a/..",
            "https://host/../..",
            "https://host/.git/b",
            "https://host/a/b c",
            "https://host/a/b\nc",
            "https://host/a/%2e%2e",
            "https://[::1/a/b",
            "https://host:port/a/b",
            "file://host/a/b",
            "relative/path",
        ):
            with self.assertRaises(RepoException, msg=url):
                RepoSource.of(url)

    def test_a_remote_index_names_no_path(self) -> None:
        """An administrator may name a local path, a remote index may not."""
        for url in ("/srv/git/a/b", "file:///srv/git/a/b"):
            with self.assertRaises(RepoException):
                RepoSource.of(url, "a/b", local=False)

    def test_names_that_lead_elsewhere(self) -> None:
        """Names from an index can't lead out of the directory."""
        for name in ("../x", "/x", "a/../b", "a/b/c", ".git", "-x", "a/", "", "a\\b"):
            with self.assertRaises(RepoException, msg=name):
                RepoSource.of("https://host/a/b", name)

    def test_secrets(self) -> None:
        """The error is one line without the password of the URL."""
        for url in (
            "gopher://user:s3cret@host/a/b",
            "https://user:s3cret@host/..",
            "https://s3cret@host/x y",
            "https://user:p@s3cret@host/..",
        ):
            with self.assertRaises(RepoException, msg=url) as raised:
                RepoSource.of(url)
            self.assertNotIn("s3cret", str(raised.exception))

    @given(st.text(max_size=60))
    def test_anything(self, text: str) -> None:
        """Any text is either a source with a name inside of the directory, or an error in one line."""
        try:
            source = RepoSource.of(text)
        except RepoException as error:
            self.assertEqual(len(str(error).splitlines()), 1)
        else:
            self.assertFalse(source.url.startswith("-"))
            self.assertNotIn("..", source.name.split("/"))
            self.assertFalse(source.name.startswith("/"))
