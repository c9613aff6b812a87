"""An ASGI application without a framework, on uvicorn with httptools and asyncio's event loop."""

import asyncio
import json
from typing import Any
from urllib.parse import parse_qs

import uvicorn
from arguments import HOST, parse, paths

HEAD = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"2")],
}
BODY = {"type": "http.response.body", "body": b"OK"}


async def read(receive: Any) -> bytes:
    """Return the body of the request."""
    message = await receive()
    body: bytes = message["body"]
    while message["more_body"]:
        message = await receive()
        body += message["body"]
    return body


async def bench(receive: Any) -> None:
    """Decode the body, as the plugins' handlers do."""
    json.loads(await read(receive))


async def form(receive: Any) -> None:
    """Decode the JSON in a field of the form."""
    json.loads(parse_qs(await read(receive))[b"payload"][0])


async def wait(receive: Any) -> None:
    """Decode the body and wait."""
    json.loads(await read(receive))
    await asyncio.sleep(600)


if __name__ == "__main__":
    arguments = parse()
    handlers = dict.fromkeys(paths(arguments, "/bench_async"), bench)
    handlers |= {"/bench_form_async": form, "/bench_wait": wait}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        """Run the handler for the path and return OK."""
        await handlers[scope["path"]](receive)
        await send(HEAD)
        await send(BODY)

    uvicorn.run(
        app,
        host=HOST,
        port=arguments.port,
        http="httptools",
        loop="asyncio",
        ws="none",
        lifespan="off",
        access_log=arguments.access_log,
        log_level="info" if arguments.access_log else "warning",
        ssl_certfile=arguments.certificate,
        ssl_keyfile=arguments.key,
    )
