"""aiohttp alone. Its only kind of handler is a coroutine that gets the request."""

import asyncio
import json

from aiohttp import web
from arguments import HOST, parse, paths, tls


async def bench(request: web.Request) -> web.Response:
    """Decode the body and return OK, as the plugins' handlers do."""
    await request.json()
    return web.Response(text="OK")


async def form(request: web.Request) -> web.Response:
    """Decode the JSON in a field of the form."""
    fields = await request.post()
    json.loads(fields["payload"])
    return web.Response(text="OK")


async def wait(request: web.Request) -> web.Response:
    """Decode the body and wait."""
    await request.json()
    await asyncio.sleep(600)
    return web.Response(text="OK")


if __name__ == "__main__":
    arguments = parse()
    app = web.Application()
    for path in paths(arguments, "/bench_async"):
        app.router.add_post(path, bench)
    app.router.add_post("/bench_form_async", form)
    app.router.add_post("/bench_wait", wait)
    web.run_app(app, host=HOST, port=arguments.port, ssl_context=tls(arguments), print=None)
