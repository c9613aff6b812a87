"""twisted.web alone. Handlers run on the reactor."""

import json

from arguments import parse, paths, serve_with_twisted
from twisted.web.iweb import IRequest
from twisted.web.resource import Resource


class Bench(Resource):
    """Decodes the body and returns OK, as the plugins' handlers do."""

    isLeaf = True

    def render_POST(self, request: IRequest) -> bytes:
        """Respond to a post of JSON."""
        json.loads(request.content.read())
        return b"OK"


class Form(Resource):
    """Decodes the JSON in a field of the form."""

    isLeaf = True

    def render_POST(self, request: IRequest) -> bytes:
        """Respond to a post of a form."""
        json.loads(request.args[b"payload"][0])
        return b"OK"


if __name__ == "__main__":
    arguments = parse()
    root = Resource()
    routes = Resource()
    root.putChild(b"routes", routes)
    root.putChild(b"bench_form_async", Form())
    for path in paths(arguments, "/bench_async"):
        parent = routes if path.startswith("/routes/") else root
        parent.putChild(path.rsplit("/", 1)[1].encode(), Bench())
    serve_with_twisted(arguments, root)
