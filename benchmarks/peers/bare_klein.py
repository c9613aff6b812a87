"""Klein alone, on twisted.web's Site. Handlers run on the reactor."""

import json

from arguments import parse, paths, serve_with_twisted
from klein import Klein
from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.web.iweb import IRequest

app: Klein = Klein()


def bench(request: IRequest) -> str:
    """Decode the body and return OK, as the plugins' handlers do."""
    json.loads(request.content.read())
    return "OK"


@app.route("/bench_form_async", methods=["POST"])
def form(request: IRequest) -> str:
    """Decode the JSON in a field of the form."""
    json.loads(request.args[b"payload"][0])
    return "OK"


@app.route("/bench_wait", methods=["POST"])
async def wait(request: IRequest) -> str:
    """Decode the body and wait."""
    json.loads(request.content.read())
    await deferLater(reactor, 600)
    return "OK"


if __name__ == "__main__":
    arguments = parse()
    for path in paths(arguments, "/bench_async"):
        app.route(path, methods=["POST"], endpoint=path)(bench)
    serve_with_twisted(arguments, app.resource())
