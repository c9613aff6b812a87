"""The content of `errbot.streaming`: `Tee`, for plugins and backends that copy a stream themselves."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from twisted.logger import Logger

from errklein.bot.streams import StreamCopier
from errklein.chat import Stream
from errklein.plugins import BotPlugin


class Tee:
    """Copies `incoming_stream` to the `callback_stream` of each client, in daemon threads.

    Example, for the `callback_stream` of a backend that passes files to two plugins::

        Tee(stream, [first_plugin, second_plugin]).start()

    :param incoming_stream: The stream to read.
    :param clients: The plugins. Each gets its own copy of the stream; an exception in one is logged.
    """

    log = Logger()

    def __init__(self, incoming_stream: Stream, clients: Iterable[BotPlugin]) -> None:
        self.incoming_stream = incoming_stream
        self.clients = list(clients)

    def start(self) -> None:
        """Copy in a new thread and return at once."""
        threading.Thread(target=self.run, name="errklein tee", daemon=True).start()

    def run(self) -> None:
        """Copy in the calling thread, and return when each client has returned."""
        copier = StreamCopier(self.incoming_stream, [type(client).__name__ for client in self.clients])
        threads = [
            threading.Thread(target=self._call, args=(copier, *pair), name="errklein stream", daemon=True)
            for pair in zip(self.clients, copier.copies, strict=True)
        ]
        for thread in threads:
            thread.start()
        copier.run()
        for thread in threads:
            thread.join()

    def _call(self, copier: StreamCopier, client: BotPlugin, copy: Stream) -> None:
        try:
            client.callback_stream(copy)
        except Exception:
            self.log.failure("{client}: callback_stream failed", client=type(client).__name__)
        finally:
            copier.returned(copy)
