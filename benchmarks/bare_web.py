"""twisted.web alone: `python bare_web.py PORT [quiet]`. Requests are logged, unless quiet."""

import json
import sys

from twisted.internet import reactor
from twisted.python import log
from twisted.web.iweb import IRequest
from twisted.web.resource import Resource
from twisted.web.server import Site


class Bench(Resource):
    """The only resource."""

    isLeaf = True

    def render_POST(self, request: IRequest) -> bytes:
        """Decode the body and return OK, as the plugins' handlers do."""
        json.loads(request.content.read())
        return b"OK"


if __name__ == "__main__":
    if not sys.argv[2:]:
        log.startLogging(sys.stdout)
    reactor.listenTCP(int(sys.argv[1]), Site(Bench()), interface="127.0.0.1")
    reactor.run()
