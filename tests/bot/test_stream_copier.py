"""Tests for the copies of one stream for several readers."""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from errklein.bot._events import CHUNK_SIZE, StreamCopier
from errklein.chat.streams import Stream
from errklein.compat._utils import Tee
from errklein.networks.test import TestPerson

DATA = bytes(range(256)) * 1000
"""More than is copied at once."""


class Client:
    """A reader that treats its stream as the test specifies."""

    def __init__(self, does: Callable[[Stream], Any]) -> None:
        self.stream: Any = None
        self.got: Any = None
        self._does = does

    def callback_stream(self, stream: Stream) -> None:
        self.stream = stream
        self.got = self._does(stream)


def take(stream: Stream) -> bytes:
    """Accept the stream, and read all of it."""
    stream.accept()
    data = stream.read()
    stream.success()
    return data


def offered(data: bytes = DATA) -> Stream:
    """Return a stream that waits to be accepted."""
    return Stream(TestPerson("alice"), io.BytesIO(data), "a.bin", len(data))


def open_files(directory: Path) -> list[str]:
    """Return the open files of this process below the directory, including deleted ones."""
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.append(str(descriptor.readlink()))
    return [path for path in found if path.startswith(str(directory.resolve()))]


class CopyTests(SynchronousTestCase):
    """The copies that readers get."""

    def test_everybody_gets_everything(self) -> None:
        """Each reader that accepts gets all bytes, and the stream ends with success."""
        stream = offered()
        clients = [Client(take) for _ in range(5)]
        Tee(stream, clients).run()
        self.assertEqual([client.got == DATA for client in clients], [True] * 5)
        self.assertEqual({client.stream.status for client in clients}, {"success"})
        self.assertEqual((stream.status, stream.transfered), ("success", len(DATA)))

    def test_reading_is_enough(self) -> None:
        """A reader that reads without accepting gets the bytes too."""
        client = Client(lambda stream: stream.read())
        Tee(offered(), [client]).run()
        self.assertEqual(client.got, DATA)

    def test_rejected_by_all(self) -> None:
        """A stream that all readers reject is rejected and not read."""
        stream = offered()
        Tee(stream, [Client(lambda stream: stream.reject()), Client(lambda stream: stream.reject())]).run()
        self.assertEqual(stream.status, "rejected")
        self.assertEqual(stream.read(), DATA)

    def test_said_nothing(self) -> None:
        """A reader that neither accepts nor rejects counts as rejecting, and is named in the log."""
        stream = offered()
        silent, keen = Client(lambda stream: None), Client(take)
        Tee(stream, [silent, keen]).run()
        self.assertEqual((silent.stream.status, keen.got, stream.status), ("rejected", DATA, "success"))

    def test_raises(self) -> None:
        """A reader that fails doesn't affect the others."""
        stream = offered()
        failing, keen = Client(lambda stream: 1 / 0), Client(take)
        Tee(stream, [failing, keen]).run()
        self.assertEqual((failing.stream.status, keen.got), ("rejected", DATA))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_has_enough(self) -> None:
        """A reader that closes its copy early gets no more, and the others get everything."""

        def sip(stream: Stream) -> bytes:
            stream.accept()
            data = stream.read(5)
            stream.success()
            stream.close()
            return data

        sipping, keen = Client(sip), Client(take)
        Tee(offered(), [sipping, keen]).run()
        self.assertEqual((sipping.got, keen.got), (DATA[:5], DATA))

    def test_slow_reader_delays_nobody(self) -> None:
        """A slow reader gets everything, and the others get it earlier."""
        finished = threading.Event()

        def doze(stream: Stream) -> bytes:
            stream.accept()
            first = stream.read(1)
            finished.wait(10)
            return first + stream.read()

        def last(stream: Stream) -> bytes:
            data = take(stream)
            finished.set()
            return data

        dozing, keen = Client(doze), Client(last)
        Tee(offered(), [dozing, keen]).run()
        self.assertEqual((dozing.got == DATA, keen.got == DATA), (True, True))

    def test_late_reader_gets_everything(self) -> None:
        """A reader that accepts after the copying gets the stream from the beginning."""
        finished = threading.Event()

        def late(stream: Stream) -> bytes:
            finished.wait(10)
            return take(stream)

        def last(stream: Stream) -> None:
            take(stream)
            finished.set()

        client = Client(late)
        Tee(offered(), [client, Client(last)]).run()
        self.assertEqual(client.got, DATA)

    def test_reads_while_the_stream_arrives(self) -> None:
        """A reader gets the first bytes before the last ones have arrived."""
        reading, writing = os.pipe()
        rest = b"the rest"

        def read(stream: Stream) -> tuple[bytes, bytes]:
            stream.accept()
            first = stream.read1(100)
            os.write(writing, rest)
            os.close(writing)
            return first, stream.read()

        os.write(writing, b"first")
        client = Client(read)
        stream = Stream(TestPerson("alice"), io.FileIO(reading), "a.bin")
        self.addCleanup(stream.close)
        Tee(stream, [client]).run()
        self.assertEqual(client.got, (b"first", rest))

    def test_stream_over_the_limit_ends_with_an_error(self) -> None:
        """No more bytes than the limit are stored, and the readers get an error."""
        stream = offered()
        copier = StreamCopier(stream, ["Reader"], size_limit=CHUNK_SIZE * 2)
        (copy,) = copier.copies
        copy.accept()
        copier.run()
        self.assertEqual(copy.read(), DATA[: CHUNK_SIZE * 2])
        self.assertEqual((copy.status, stream.status), ("error", "error"))
        self.assertIn("more than 8192 bytes", copy.reason)

    def test_full_disk_ends_with_an_error(self) -> None:
        """On a full disk, the readers get an error with the reason."""
        stream = offered()
        copier = StreamCopier(stream, ["Reader"])
        copier._file.close()
        copier._file = io.FileIO("/dev/full", "wb")
        (copy,) = copier.copies
        copy.accept()
        copier.run()
        self.assertEqual((copy.read(), copy.status, stream.status), (b"", "error", "error"))
        self.assertIn("No space left", copy.reason)

    def test_stop_ends_copies_with_an_error(self) -> None:
        """Readers that wait for more bytes get the end and an error."""
        reading, writing = os.pipe()
        self.addCleanup(os.close, writing)
        stream = Stream(TestPerson("alice"), io.FileIO(reading), "a.bin")
        copier = StreamCopier(stream, ["Reader"])
        (copy,) = copier.copies
        copying = threading.Thread(target=copier.run)
        copying.start()
        copy.accept()
        os.write(writing, b"first")
        first = copy.read1(100)
        threading.Timer(0.01, copier.stop).start()
        self.assertEqual((first, copy.read(), copy.status, stream.status), (b"first", b"", "error", "error"))
        os.write(writing, b"second")
        copying.join(10)
        stream.close()

    def test_file_is_deleted(self) -> None:
        """The temporary file has no name, and is closed with the last copy."""
        directory = Path(self.mktemp())
        directory.mkdir()
        self.patch(tempfile, "tempdir", str(directory))
        copier = StreamCopier(offered(), ["Reader"])
        (copy,) = copier.copies
        self.assertEqual(list(directory.iterdir()), [])
        copy.accept()
        copier.run()
        self.assertEqual(copy.read(), DATA)
        self.assertEqual(len(open_files(directory)), 1)
        copy.close()
        self.assertEqual(open_files(directory), [])

    def test_source_breaks(self) -> None:
        """If the source fails, all copies get the error with its reason."""

        class Broken(io.RawIOBase):
            def readable(self) -> bool:
                return True

            def readinto(self, buffer: Any) -> int:
                raise OSError("the cable broke")

        stream = Stream(TestPerson("alice"), Broken(), "a.bin")

        def read(stream: Stream) -> bytes:
            stream.accept()
            return stream.read()

        client = Client(read)
        Tee(stream, [client]).run()
        self.assertEqual((client.got, client.stream.status, stream.status), (b"", "error", "error"))
        self.assertEqual(client.stream.reason, "the cable broke")

    def test_start(self) -> None:
        """`start` copies in a thread of its own."""
        done = threading.Event()

        def last(stream: Stream) -> bytes:
            data = take(stream)
            done.set()
            return data

        client = Client(last)
        Tee(offered(), [client]).start()
        self.assertTrue(done.wait(10))
