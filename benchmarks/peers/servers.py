"""The servers in Python that webhooks.py compares, without a bot.

Run `python servers.py NAME PORT [--routes N] [--certificate FILE --key FILE] [--access-log]`. A handler decodes the body, which is
JSON or a form with JSON in the field "payload", and returns OK.
"""

import argparse
import asyncio
import json
import logging
import ssl
import sys
from typing import Annotated, Any
from urllib.parse import parse_qs

HOST = "127.0.0.1"


def paths(options: Any) -> list[str]:
    """Return the path of the handler for JSON and those of the additional routes."""
    return ["/bench_async", *(f"/routes/{number}" for number in range(options.routes))]


def tls(options: Any) -> ssl.SSLContext | None:
    """Return the context for HTTPS; None for HTTP."""
    if options.certificate is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(options.certificate, options.key)
    return context


def aiohttp(options: Any) -> None:
    """Serve with aiohttp. Its only kind of handler is a coroutine that gets the request."""
    from aiohttp import web

    async def bench(request: web.Request) -> web.Response:
        await request.json()
        return web.Response(text="OK")

    async def form(request: web.Request) -> web.Response:
        json.loads((await request.post())["payload"])
        return web.Response(text="OK")

    app = web.Application()
    for path in paths(options):
        app.router.add_post(path, bench)
    app.router.add_post("/bench_form_async", form)
    web.run_app(app, host=HOST, port=options.port, ssl_context=tls(options), print=None)


def fastapi(options: Any) -> None:
    """Serve with FastAPI on uvicorn. `def` handlers run in threads, as errklein's do."""
    from fastapi import Body, FastAPI, Form
    from fastapi.responses import PlainTextResponse

    app = FastAPI(default_response_class=PlainTextResponse, openapi_url=None)

    @app.post("/bench_plain")
    def plain(payload: Annotated[dict[str, Any], Body()]) -> str:
        return "OK"

    async def bench(payload: Annotated[dict[str, Any], Body()]) -> str:
        return "OK"

    @app.post("/bench_form")
    def form(payload: Annotated[str, Form()]) -> str:
        json.loads(payload)
        return "OK"

    @app.post("/bench_form_async")
    async def form_async(payload: Annotated[str, Form()]) -> str:
        json.loads(payload)
        return "OK"

    for path in paths(options):
        app.post(path)(bench)
    run_uvicorn(options, app)


def uvicorn(options: Any) -> None:
    """Serve an ASGI application without a framework."""
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"2")]
    known = {*paths(options), "/bench_form_async"}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] not in known:
            raise ValueError(scope["path"])
        message = await receive()
        body = message["body"]
        while message["more_body"]:
            message = await receive()
            body += message["body"]
        json.loads(parse_qs(body)[b"payload"][0] if "form" in scope["path"] else body)
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"OK"})

    run_uvicorn(options, app)


def run_uvicorn(options: Any, app: Any) -> None:
    """Run an ASGI application on uvicorn with httptools and asyncio's event loop."""
    import uvicorn

    log = {"access_log": options.access_log, "log_level": "info" if options.access_log else "warning"}
    keys = {"ssl_certfile": options.certificate, "ssl_keyfile": options.key}
    shared = {"http": "httptools", "loop": "asyncio", "ws": "none", "lifespan": "off"}
    uvicorn.run(app, host=HOST, port=options.port, **shared, **keys, **log)


def httptools(options: Any) -> None:
    """Serve with the least that Python can do: a protocol without limits, timeouts, errors or a framework."""
    from httptools import HttpRequestParser

    response = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 2\r\n\r\nOK"
    handlers: dict[bytes, Any] = {path.encode(): json.loads for path in paths(options)}
    handlers[b"/bench_form_async"] = lambda body: json.loads(parse_qs(body)[b"payload"][0])

    class Protocol(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            self.write = transport.write
            self.data_received = HttpRequestParser(self).feed_data  # type: ignore[method-assign]

        def on_message_begin(self) -> None:
            self.pieces: list[bytes] = []

        def on_url(self, url: bytes) -> None:
            self.url = url

        def on_body(self, piece: bytes) -> None:
            self.pieces.append(piece)

        def on_message_complete(self) -> None:
            handlers[self.url](b"".join(self.pieces))
            self.write(response)

    async def serve() -> None:
        server = await asyncio.get_running_loop().create_server(Protocol, HOST, options.port, ssl=tls(options))
        await server.serve_forever()

    asyncio.run(serve())


def klein(options: Any) -> None:
    """Serve with Klein on twisted.web's Site. Handlers run on the reactor."""
    from klein import Klein

    app: Any = Klein()

    def bench(request: Any) -> str:
        json.loads(request.content.read())
        return "OK"

    @app.route("/bench_form_async", methods=["POST"])
    def form(request: Any) -> str:
        json.loads(request.args[b"payload"][0])
        return "OK"

    for path in paths(options):
        app.route(path, methods=["POST"], endpoint=path)(bench)
    run_twisted(options, app.resource())


def twisted(options: Any) -> None:
    """Serve with twisted.web. Handlers run on the reactor."""
    from twisted.web.resource import Resource

    class Bench(Resource):
        isLeaf = True

        def render_POST(self, request: Any) -> bytes:
            json.loads(request.args[b"payload"][0] if b"form" in request.path else request.content.read())
            return b"OK"

    root, routes = Resource(), Resource()
    root.putChild(b"routes", routes)
    root.putChild(b"bench_form_async", Bench())
    for path in paths(options):
        (routes if path.startswith("/routes/") else root).putChild(path.rsplit("/", 1)[1].encode(), Bench())
    run_twisted(options, root)


def run_twisted(options: Any, resource: Any) -> None:
    """Serve a resource on Twisted's default reactor."""
    from twisted.internet import reactor
    from twisted.internet.endpoints import serverFromString
    from twisted.python import log
    from twisted.web.server import Site

    if options.access_log:
        log.startLogging(sys.stdout)
    endpoint = f"tcp:{options.port}:interface={HOST}"
    if options.certificate is not None:
        keys = f"privateKey={options.key}:certKey={options.certificate}"
        endpoint = f"ssl:{options.port}:{keys}:interface={HOST}"
    serverFromString(reactor, endpoint).listen(Site(resource))
    reactor.run()  # type: ignore[attr-defined]


SERVERS = {serve.__name__: serve for serve in (aiohttp, fastapi, uvicorn, httptools, klein, twisted)}

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=SERVERS)
    parser.add_argument("port", type=int)
    parser.add_argument("--routes", type=int, default=0)
    for name in ("--certificate", "--key"):
        parser.add_argument(name)
    parser.add_argument("--access-log", action="store_true")
    chosen = parser.parse_args()
    logging.basicConfig(level=logging.INFO if chosen.access_log else logging.WARNING)
    SERVERS[chosen.name](chosen)
