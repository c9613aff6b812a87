"""How JSON in the bodies of requests is read: within the limits that hold for the payloads of webhooks."""

from __future__ import annotations

import json
from typing import Any

from twisted.python.threadable import isInIOThread
from werkzeug.exceptions import RequestEntityTooLarge

from errklein.web.facade.json_text import dumps
from errklein.webhooks.payload import BadPayload, read_json


def loads(body: bytes) -> Any:
    """The value that the body says. Raises ValueError if it isn't JSON, RequestEntityTooLarge if there is too much in it."""
    text = body.decode(json.detect_encoding(body), "surrogatepass")
    try:
        # On the reactor's thread patience would only make everybody wait longer.
        return read_json(text, patient=not isInIOThread())
    except BadPayload as error:
        if error.status == 413:
            raise RequestEntityTooLarge(error.detail) from None
        raise ValueError(error.detail) from None


__all__ = ["dumps", "loads"]
