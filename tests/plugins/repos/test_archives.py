"""Tests for archives: what is unpacked, and what is refused."""

from __future__ import annotations

import gzip
import io
import random
import tarfile
from pathlib import Path
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein.plugins.repos import archives
from errklein.plugins.repos.sources import RepoException
from tests.plugins.repos.kit import archive


def special(name: str, kind: bytes, target: str = "") -> dict[str, tarfile.TarInfo]:
    """Something other than a file, in an archive."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return {name: info}


class UnpackTests(SynchronousTestCase):
    """One archive at a time."""

    def setUp(self) -> None:
        """Choose where to unpack to."""
        self.top = Path(self.mktemp()).absolute()
        self.target = self.top / "target"

    def unpack(self, data: bytes) -> list[str]:
        """The files that come out of the archive."""
        archives.unpack(io.BytesIO(data), self.target)
        return sorted(str(path.relative_to(self.target)) for path in self.target.rglob("*") if path.is_file())

    def refused(self, data: bytes) -> str:
        """Why the archive isn't unpacked."""
        with self.assertRaises(RepoException) as raised:
            self.unpack(data)
        self.assertEqual([path.name for path in self.top.iterdir()], ["target"])
        text = str(raised.exception)
        self.assertEqual(len(text.splitlines()), 1)
        return text

    def test_files(self) -> None:
        """What is in the archive's one directory comes out, without that directory."""
        files = {**special("x-1.0", tarfile.DIRTYPE), "x-1.0/a.py": "a = 1\n", "./x-1.0/sub/b.py": ""}
        self.assertEqual(self.unpack(archive(files)), ["a.py", "sub/b.py"])
        self.assertEqual((self.target / "a.py").read_text(), "a = 1\n")

    def test_ways_out(self) -> None:
        """Nothing leads out: no parent, no root, no link of any kind, no device or pipe."""
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
        """Files without a directory, or in two, aren't a repository."""
        for files in ({"a.py": ""}, {"x/a.py": "", "y/a.py": ""}, {"x/a.py": "", "b.py": ""}):
            self.setUp()
            self.assertIn("one directory", self.refused(archive(files)))

    def test_a_file_twice(self) -> None:
        """A second file of the same name doesn't replace the first."""
        info = tarfile.TarInfo("x/a")
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
            tar.addfile(info)
            tar.addfile(info)
        self.refused(buffer.getvalue())

    def test_bombs(self) -> None:
        """An archive that unpacks to too much, in files or in headers, or into too many files, is stopped."""
        with mock.patch.object(archives, "MOST_UNPACKED", 10_000):
            self.assertIn("unpacks to more", self.refused(archive({"x/a": "0" * 20_000})))
            self.setUp()
            long = tarfile.TarInfo("x/" + "n" * 20_000)
            self.assertIn("unpacks to more", self.refused(archive({"n": long})))
        self.setUp()
        with mock.patch.object(archives, "MOST_FILES", 3):
            self.assertIn("more than 3 files", self.refused(archive({f"x/{n}": "" for n in range(5)})))

    def test_nesting(self) -> None:
        """Directories that are nested too deep to be removed again, and headers about headers, are refused."""
        self.assertIn("more than 50 directories", self.refused(archive({"x/" + "y/" * 1500 + "a": ""})))
        self.setUp()
        about = tarfile.TarInfo("././@LongLink")
        about.type, about.size = tarfile.GNUTYPE_LONGNAME, 2
        headers = (about.tobuf(format=tarfile.GNU_FORMAT) + b"a\0".ljust(512, b"\0")) * 3000
        self.assertIn("headers never end", self.refused(gzip.compress(headers, 1)))

    def test_broken(self) -> None:
        """What is no archive, or only a part of one, is refused."""
        whole = archive({"x/a": "a" * 5000})
        for data in (b"", b"nonsense", whole[:50], gzip.compress(b"no tar" * 200), whole[:-20]):
            self.setUp()
            self.refused(data)

    @given(st.integers(min_value=0))
    def test_damaged(self, seed: int) -> None:
        """Any damage gives files inside or a refusal in one line, nothing else."""
        damage = random.Random(seed)
        data = bytearray(gzip.decompress(archive({"x/a": "a" * 50, **special("x/b", tarfile.DIRTYPE)})))
        for _ in range(damage.randrange(1, 6)):
            data[damage.randrange(1100)] = damage.randrange(256)
        target = Path(self.mktemp()).absolute()
        try:
            archives.unpack(io.BytesIO(gzip.compress(bytes(data), 1)), target)
        except RepoException as error:
            self.assertEqual(len(str(error).splitlines()), 1)
