"""Tests for unpacking archives, and for archives that are rejected."""

from __future__ import annotations

import gzip
import io
import random
import tarfile
import tracemalloc
from pathlib import Path
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein.plugins.repos import sources as archives
from errklein.plugins.repos.sources import RepoException
from tests import takes_long
from tests.plugins.repos.repositories import archive


def special(name: str, kind: bytes, target: str = "") -> dict[str, tarfile.TarInfo]:
    """Return a member that isn't a file or directory."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return {name: info}


def header(name: str, kind: bytes, content: bytes, size: int | None = None) -> bytes:
    """Return the bytes of a member's header and content."""
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, len(content) if size is None else size
    return info.tobuf(format=tarfile.GNU_FORMAT) + content + b"\0" * (-len(content) % 512)


def record(key: str, value: str) -> bytes:
    """Return a record of an extended header, which begins with its own length."""
    rest = f" {key}={value}\n"
    length = len(rest)
    while length != len(f"{length}{rest}"):
        length = len(f"{length}{rest}")
    return f"{length}{rest}".encode()


class UnpackTests(SynchronousTestCase):
    """One archive at a time."""

    def setUp(self) -> None:
        """Choose the target directory."""
        self.top = Path(self.mktemp()).absolute()
        self.target = self.top / "target"

    def unpack(self, data: bytes) -> list[str]:
        """Unpack the archive and return its files."""
        archives.unpack(io.BytesIO(data), self.target)
        return sorted(str(path.relative_to(self.target)) for path in self.target.rglob("*") if path.is_file())

    def refused(self, data: bytes) -> str:
        """Return the reason why the archive is rejected."""
        with self.assertRaises(RepoException) as raised:
            self.unpack(data)
        self.assertEqual([path.name for path in self.top.iterdir()], ["target"])
        text = str(raised.exception)
        self.assertEqual(len(text.splitlines()), 1)
        return text

    def test_files(self) -> None:
        """The content of the archive's only directory is unpacked, without that directory."""
        files = {**special("x-1.0", tarfile.DIRTYPE), "x-1.0/a.py": "a = 1\n", "./x-1.0/sub/b.py": ""}
        self.assertEqual(self.unpack(archive(files)), ["a.py", "sub/b.py"])
        self.assertEqual((self.target / "a.py").read_text(), "a = 1\n")

    def test_ways_out(self) -> None:
        """Members outside of the directory, links, devices and pipes are rejected."""
        for files in (
            {"x/../../evil": "1"},
            {"../evil": "1"},
            {"/tmp/evil": "1"},
            {"x\\..\\evil": "1"},
            special("x/link", tarfile.SYMTYPE, "/etc/passwd"),
            special("x/link", tarfile.LNKTYPE, "x/a"),
            special("x/device", tarfile.CHRTYPE),
            special("x/device", tarfile.BLKTYPE),
            special("x/pipe", tarfile.FIFOTYPE),
        ):
            self.setUp()
            self.refused(archive(files))

    def test_one_directory(self) -> None:
        """Files without a directory, or in two directories, are rejected."""
        for files in ({"a.py": ""}, {"x/a.py": "", "y/a.py": ""}, {"x/a.py": "", "b.py": ""}):
            self.setUp()
            self.assertIn("one directory", self.refused(archive(files)))

    def test_headers_are_forgotten(self) -> None:
        """Headers of files, and global headers, don't accumulate in memory."""
        takes_long()
        for kind in (tarfile.XHDTYPE, tarfile.XGLTYPE):
            self.setUp()
            data = bytearray()
            for number in range(10, 30):
                data += header("p", kind, b"".join(record(f"{number}{key}", "") for key in range(5000)))
                data += header(f"x/{number}", tarfile.REGTYPE, b"")
            packed = gzip.compress(data, 1)
            tracemalloc.start()
            self.addCleanup(tracemalloc.stop)
            self.unpack(packed)
            self.assertLess(tracemalloc.get_traced_memory()[1], 2_000_000)
            tracemalloc.stop()

    def test_a_file_twice(self) -> None:
        """A second file of the same name doesn't replace the first."""
        info = tarfile.TarInfo("x/a")
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
            tar.addfile(info)
            tar.addfile(info)
        self.refused(buffer.getvalue())

    def test_bombs(self) -> None:
        """An archive that unpacks to too many bytes, headers or files is stopped."""
        with mock.patch.object(archives, "MOST_UNPACKED", 10_000):
            self.assertIn("unpacks to more", self.refused(archive({"x/a": "0" * 20_000})))
            self.setUp()
            long = tarfile.TarInfo("x/" + "n" * 20_000)
            self.assertIn("unpacks to more", self.refused(archive({"n": long})))
        self.setUp()
        with mock.patch.object(archives, "MOST_FILES", 3):
            self.assertIn("more than 3 files", self.refused(archive({f"x/{n}": "" for n in range(5)})))

    def test_nesting(self) -> None:
        """Directories and headers that are nested too deep are rejected."""
        self.assertIn("more than 50 directories", self.refused(archive({"x/" + "y/" * 1500 + "a": ""})))
        self.setUp()
        about = tarfile.TarInfo("././@LongLink")
        about.type, about.size = tarfile.GNUTYPE_LONGNAME, 2
        headers = (about.tobuf(format=tarfile.GNU_FORMAT) + b"a\0".ljust(512, b"\0")) * 3000
        self.assertIn("larger than 64 kB", self.refused(gzip.compress(headers, 1)))

    def test_headers(self) -> None:
        """Headers of a file that exceed the limit are rejected before they are read, of every kind."""
        pages = b"50000\n" + b"1\n" * 100_000
        for headers in (
            header("p", tarfile.XHDTYPE, record("comment", "x" * 100_000)),
            header("p", tarfile.XGLTYPE, record("comment", "x" * 100_000)),
            header("p", tarfile.XGLTYPE, record("comment", "x")) * 100,
            header("p", tarfile.GNUTYPE_LONGNAME, b"x" * 100_000),
            header("p", tarfile.GNUTYPE_LONGLINK, b"x" * 100_000),
            header("x/", tarfile.DIRTYPE, b"", size=1_000_000) + header("p", tarfile.XHDTYPE, b"x" * 100_000),
            # A map of the holes in a file is before its content.
            header("p", tarfile.XHDTYPE, record("GNU.sparse.major", "1") + record("GNU.sparse.minor", "0"))
            + header("x/a", tarfile.REGTYPE, pages),
        ):
            self.setUp()
            self.assertIn("larger than 64 kB", self.refused(gzip.compress(headers, 1)))

    def test_many_headers(self) -> None:
        """The limit holds for each file separately; content doesn't count, and a long name does."""
        one = header("p", tarfile.XHDTYPE, record("comment", "x" * 20_000))
        files = b"".join(one + header(f"x/{number}", tarfile.REGTYPE, b"0" * 20_000) for number in range(10))
        named = header("p", tarfile.XHDTYPE, record("path", "x/" + "n" * 200)) + header("x/a", tarfile.REGTYPE, b"")
        self.assertEqual(self.unpack(gzip.compress(files + named, 1)), [*map(str, range(10)), "n" * 200])

    def test_broken(self) -> None:
        """Data that isn't a complete archive is rejected."""
        whole = archive({"x/a": "a" * 5000})
        for data in (b"", b"nonsense", whole[:50], gzip.compress(b"no tar" * 200), whole[:-20]):
            self.setUp()
            self.refused(data)

    @given(st.integers(min_value=0))
    def test_damaged(self, seed: int) -> None:
        """A damaged archive leads to files inside the directory or to an error in one line."""
        damage = random.Random(seed)
        data = bytearray(gzip.decompress(archive({"x/a": "a" * 50, **special("x/b", tarfile.DIRTYPE)})))
        for _ in range(damage.randrange(1, 6)):
            data[damage.randrange(1100)] = damage.randrange(256)
        target = Path(self.mktemp()).absolute()
        try:
            archives.unpack(io.BytesIO(gzip.compress(bytes(data), 1)), target)
        except RepoException as error:
            self.assertEqual(len(str(error).splitlines()), 1)
