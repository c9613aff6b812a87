"""Klein alone, as its documentation runs it: `python bare_klein.py PORT`."""

import json
import sys

from klein import Klein
from twisted.web.iweb import IRequest

app: Klein = Klein()


@app.route("/bench", methods=["POST"])
def bench(request: IRequest) -> str:
    """Decode the body and say OK, as the plugins' handlers do."""
    json.loads(request.content.read())
    return "OK"


if __name__ == "__main__":
    app.run("127.0.0.1", int(sys.argv[1]))
