"""One stream for several readers."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from errklein.backends.test import TestPerson
from errklein.chat.streams import Stream
from errklein.running.tee import Tee

DATA = bytes(range(256)) * 1000
"""More than a pipe holds."""


class Client:
    """Does with its stream what the test says."""

    def __init__(self, does: Callable[[Stream], Any]) -> None:
        self.stream: Any = None
        self.got: Any = None
        self._does = does

    def callback_stream(self, stream: Stream) -> None:
        self.stream = stream
        self.got = self._does(stream)


def take(stream: Stream) -> bytes:
    """Accept it and read all of it."""
    stream.accept()
    data = stream.read()
    stream.success()
    return data


def offered(data: bytes = DATA) -> Stream:
    """A stream that waits to be accepted."""
    return Stream(TestPerson("alice"), io.BytesIO(data), "a.bin", len(data))


class Impatient(Tee):
    """Doesn't wait for who doesn't read."""

    READ_WITHIN = 0.05


class TeeTests(SynchronousTestCase):
    """How copies are made."""

    def test_everybody_gets_everything(self) -> None:
        """Each client that accepts gets all bytes, and the stream has been transferred."""
        stream = offered()
        clients = [Client(take) for _ in range(5)]
        Tee(stream, clients).run()
        self.assertEqual([client.got == DATA for client in clients], [True] * 5)
        self.assertEqual({client.stream.status for client in clients}, {"success"})
        self.assertEqual((stream.status, stream.transfered), ("success", len(DATA)))

    def test_reading_is_enough(self) -> None:
        """Who reads without a word gets the bytes too."""
        client = Client(lambda stream: stream.read())
        Tee(offered(), [client]).run()
        self.assertEqual(client.got, DATA)

    def test_rejected_by_all(self) -> None:
        """What nobody wants is rejected, and not read."""
        stream = offered()
        Tee(stream, [Client(lambda stream: stream.reject()), Client(lambda stream: stream.reject())]).run()
        self.assertEqual(stream.status, "rejected")
        self.assertEqual(stream.read(), DATA)

    def test_said_nothing(self) -> None:
        """Who neither accepts nor rejects has rejected; the log says who it was."""
        stream = offered()
        silent, keen = Client(lambda stream: None), Client(take)
        Tee(stream, [silent, keen]).run()
        self.assertEqual((silent.stream.status, keen.got, stream.status), ("rejected", DATA, "success"))

    def test_raises(self) -> None:
        """A client that fails keeps nobody else from the stream."""
        stream = offered()
        failing, keen = Client(lambda stream: 1 / 0), Client(take)
        Tee(stream, [failing, keen]).run()
        self.assertEqual((failing.stream.status, keen.got), ("rejected", DATA))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_has_enough(self) -> None:
        """Who closes its copy early gets no more, and the others get all."""

        def sip(stream: Stream) -> bytes:
            stream.accept()
            data = stream.read(5)
            stream.success()
            stream.close()
            return data

        sipping, keen = Client(sip), Client(take)
        Tee(offered(), [sipping, keen]).run()
        self.assertEqual((sipping.got, keen.got), (DATA[:5], DATA))

    def test_stops_reading(self) -> None:
        """Who reads nothing any more loses the rest, and the others get all."""
        finished = threading.Event()

        def doze(stream: Stream) -> None:
            stream.accept()
            stream.read(1)
            finished.wait(10)

        def last(stream: Stream) -> bytes:
            data = take(stream)
            finished.set()
            return data

        dozing, keen = Client(doze), Client(last)
        Impatient(offered(), [dozing, keen]).run()
        self.assertEqual(keen.got, DATA)
        self.assertEqual((dozing.stream.status, "nothing was read" in dozing.stream.reason), ("error", True))

    def test_source_breaks(self) -> None:
        """A source that fails leaves an error everywhere, with its reason."""

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

    def test_files_have_numbers(self) -> None:
        """A copy can be given to a subprocess, since it is a pipe of the system."""
        client = Client(lambda stream: (stream.fileno() > 2, take(stream)))
        Tee(offered(b"few"), [client]).run()
        self.assertEqual(client.got, (True, b"few"))
