"""Klein alone, as in its documentation: `python bare_klein.py PORT [quiet]`. Requests are logged, unless quiet."""

import json
import sys

from klein import Klein
from twisted.internet import reactor
from twisted.web.iweb import IRequest
from twisted.web.server import Site

app: Klein = Klein()


@app.route("/bench", methods=["POST"])
def bench(request: IRequest) -> str:
    """Decode the body and return OK, as the plugins' handlers do."""
    json.loads(request.content.read())
    return "OK"


if __name__ == "__main__":
    if sys.argv[2:]:
        reactor.listenTCP(int(sys.argv[1]), Site(app.resource()), interface="127.0.0.1")
        reactor.run()
    else:
        app.run("127.0.0.1", int(sys.argv[1]))
