"""The application object behind `current_app`."""

from __future__ import annotations

import logging
from typing import Any

from werkzeug.routing import Map

from errklein.web.facade import json_text
from errklein.web.facade.request import Request
from errklein.web.facade.response import Response, make_response


class Flask:
    """The application that `current_app` refers to, for libraries and handlers that read its attributes.

    It has `config`, `logger`, `json`, `extensions`, `make_response` and the classes of requests and responses. It has no
    routes: plugins declare theirs with `@webhook`.
    """

    json = json_text
    request_class = Request
    response_class = Response
    debug = False
    testing = False

    def __init__(self, import_name: str = "errklein", **_: Any) -> None:
        self.import_name = self.name = import_name
        self.config: dict[str, Any] = {"DEBUG": False, "TESTING": False, "SECRET_KEY": None}
        self.logger = logging.getLogger("errklein.web")
        self.extensions: dict[str, Any] = {}
        self.url_map = Map()

    make_response = staticmethod(make_response)

    def route(self, *_: Any, **__: Any) -> Any:
        """Raise RuntimeError, since plugins declare webhooks with `@webhook`."""
        raise RuntimeError("flask.current_app has no routes of its own; declare webhooks with errklein's @webhook")

    run = add_url_rule = register_blueprint = route
