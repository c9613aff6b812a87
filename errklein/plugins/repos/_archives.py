"""Unpacks archives of plugins, which may contain only regular files and directories in one directory."""

from __future__ import annotations

import gzip
import io
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any

from errklein.plugins.repos.sources import RepoException, shown

MOST_PACKED = 50_000_000
MOST_UNPACKED = 200_000_000
MOST_FILES = 10_000
DEEPEST = 50  # the number of nested directories. Python can't remove directories that are nested much deeper.

MOST_HEADERS = 64_000  # the limit for the headers of one file or directory, in bytes. tarfile keeps them in memory.

_EXPECTED = "expected a .tar.gz archive of regular files in one directory"

_UNREADABLE = (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, OverflowError, ValueError, RecursionError)
"""Exceptions of gzip and tarfile for damaged archives."""


def unpack(archive: IO[bytes], target: Path) -> None:
    """Unpack the archive's only directory into `target`, a new directory. Raises RepoException; the files written until
    then stay."""
    target.mkdir(parents=True)
    try:
        # The limits hold for the bytes read, whatever the headers claim.
        with gzip.open(archive) as stream:
            limited: Any = _Limited(stream)
            with tarfile.open(fileobj=limited, mode="r|") as tar:
                _extract(_members(tar, limited), tar, target)
    except _UNREADABLE as error:
        raise RepoException(f"the archive can't be read ({error}); {_EXPECTED}") from error
    except OSError as error:
        raise RepoException(f"the archive can't be unpacked: {error.strerror or error}") from error


def _members(tar: tarfile.TarFile, stream: _Limited) -> Iterator[tarfile.TarInfo]:
    """Yield the members of the archive. At most MOST_HEADERS bytes of metadata of each are in memory."""
    for member in tar:
        stream.expect(member.size if member.isreg() else 0)
        # tarfile keeps each member, and copies global headers to each.
        member.pax_headers = {}
        tar.pax_headers = {}
        yield member


def _extract(members: Iterable[tarfile.TarInfo], tar: tarfile.TarFile, target: Path) -> None:
    tops: set[str] = set()
    for count, member in enumerate(members, 1):
        if count > MOST_FILES:
            raise RepoException(f"the archive contains more than {MOST_FILES} files")
        _check(member)
        top, *rest = PurePosixPath(member.name).parts or ("",)
        if not top:
            continue
        if top.startswith(("/", "..")):
            raise RepoException(f"{shown(member.name)} in the archive leads out of its directory; {_EXPECTED}")
        tops.add(top)
        if len(tops) > 1 or not (rest or member.isdir()):
            raise RepoException(f"the archive contains {shown(top)} beside its directory; {_EXPECTED}")
        path = target.joinpath(*rest)
        if member.isreg() and path.exists():
            raise RepoException(f"{shown(member.name)} is in the archive twice")
        # The filter rejects members outside of the directory.
        inner = member.replace(name=str(PurePosixPath(*rest)), deep=False)
        tar.extract(inner, target, set_attrs=False, filter="data")


def _check(member: tarfile.TarInfo) -> None:
    """Raise RepoException unless the member is a file or directory, and not nested too deep."""
    if not (member.isdir() or member.isreg()) or member.issparse():
        raise RepoException(f"{shown(member.name)} in the archive is not a regular file; {_EXPECTED}")
    if member.name.count("/") > DEEPEST:
        raise RepoException(f"{shown(member.name)} in the archive is nested more than {DEEPEST} directories deep")


class _Limited(io.RawIOBase):
    """A file with two limits: one for all its bytes, and one for the bytes until the next member."""

    def __init__(self, file: gzip.GzipFile) -> None:
        super().__init__()
        self._file = file
        self._left = MOST_UNPACKED
        self._left_here = MOST_HEADERS

    def expect(self, content: int) -> None:
        self._left_here = content + MOST_HEADERS

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(min(size, self._left + 1) if size >= 0 else self._left + 1)
        self._left -= len(data)
        if self._left < 0:
            raise RepoException(f"the archive unpacks to more than {MOST_UNPACKED // 1_000_000} MB")
        self._left_here -= len(data)
        if self._left_here < 0:
            most = f"{MOST_HEADERS // 1000} kB"
            raise RepoException(f"the headers of a file in the archive are larger than {most}; {_EXPECTED}")
        return data
