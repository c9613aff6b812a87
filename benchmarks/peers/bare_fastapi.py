"""FastAPI on uvicorn with httptools and asyncio's event loop. `def` handlers run in threads, as errklein's do."""

import asyncio
import json
from typing import Annotated, Any

import uvicorn
from arguments import HOST, parse, paths
from fastapi import Body, FastAPI, Form
from fastapi.responses import PlainTextResponse

app = FastAPI(default_response_class=PlainTextResponse, openapi_url=None)
Payload = Annotated[dict[str, Any], Body()]
Field = Annotated[str, Form()]


@app.post("/bench_plain")
def plain(payload: Payload) -> str:
    """Return OK from a thread; the body is decoded."""
    return "OK"


async def bench(payload: Payload) -> str:
    """Return OK; the body is decoded."""
    return "OK"


@app.post("/bench_form")
def form(payload: Field) -> str:
    """Decode the JSON in a field of the form, in a thread."""
    json.loads(payload)
    return "OK"


@app.post("/bench_form_async")
async def form_async(payload: Field) -> str:
    """Decode the JSON in a field of the form."""
    json.loads(payload)
    return "OK"


@app.post("/bench_wait")
async def wait(payload: Payload) -> str:
    """Wait; the body is decoded."""
    await asyncio.sleep(600)
    return "OK"


if __name__ == "__main__":
    arguments = parse()
    for path in paths(arguments, "/bench_async"):
        app.post(path)(bench)
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
