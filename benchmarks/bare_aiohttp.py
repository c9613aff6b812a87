"""aiohttp alone: `python bare_aiohttp.py PORT [quiet]`. Requests are logged, unless quiet."""

import logging
import sys

from aiohttp import web


async def bench(request: web.Request) -> web.Response:
    """Decode the body and return OK, as the plugins' handlers do."""
    await request.json()
    return web.Response(text="OK")


if __name__ == "__main__":
    app = web.Application()
    app.router.add_post("/bench", bench)
    if not sys.argv[2:]:
        logging.basicConfig(level=logging.INFO)
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None)
