"""The least that Python can do: an asyncio protocol with httptools, without limits, timeouts, errors or a framework.

It is the upper bound of what a server in Python can reach, and isn't a usable server.
"""

import asyncio
import json
from urllib.parse import parse_qs

import httptools
from arguments import HOST, parse, paths, tls

OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 2\r\n\r\nOK"


def bench(body: bytes) -> None:
    """Decode the body, as the plugins' handlers do."""
    json.loads(body)


def form(body: bytes) -> None:
    """Decode the JSON in a field of the form."""
    json.loads(parse_qs(body)[b"payload"][0])


handlers = {b"/bench_form_async": form}


class Protocol(asyncio.Protocol):
    """Responds to each request when its body is complete."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Create the parser."""
        self.transport = transport
        self.parser = httptools.HttpRequestParser(self)
        self.data_received = self.parser.feed_data  # type: ignore[method-assign]

    def on_message_begin(self) -> None:
        """Forget the previous request."""
        self.pieces: list[bytes] = []

    def on_url(self, url: bytes) -> None:
        """Keep the path."""
        self.url = url

    def on_body(self, piece: bytes) -> None:
        """Keep a part of the body."""
        self.pieces.append(piece)

    def on_message_complete(self) -> None:
        """Run the handler for the path and return OK."""
        handlers[self.url](b"".join(self.pieces))
        self.transport.write(OK)  # type: ignore[attr-defined]


async def main() -> None:
    """Serve until the process is interrupted."""
    arguments = parse()
    handlers.update((path.encode(), bench) for path in paths(arguments, "/bench_async"))
    server = await asyncio.get_running_loop().create_server(Protocol, HOST, arguments.port, ssl=tls(arguments))
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
