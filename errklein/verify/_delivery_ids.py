"""The ids that sources give their deliveries, in a header or in a field of a JSON body."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from errklein.verify._values import Received

LONGEST = 255


@dataclass(frozen=True)
class HeaderId:
    """Returns the value of the first of these headers that is present, or None."""

    names: tuple[bytes, ...]

    def __call__(self, received: Received) -> str | None:
        """Return the id of the delivery."""
        for name in self.names:
            # If the header is repeated, its values are the id together.
            value = b",".join(value for key, value in received.headers if key == name)
            if value:
                return _usable(value.decode("latin-1"))
        return None


def id_in_header(*names: bytes) -> HeaderId:
    """Return a function that returns the value of the first of these headers that is present, or None."""
    return HeaderId(names)


def id_in_json(*path: str) -> Callable[[Received], str | None]:
    """Return a function that returns the text or number in these nested fields of a JSON body, or None."""

    def delivery_id(received: Received) -> str | None:
        value = json_of(received.body)
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        return _usable(str(value)) if isinstance(value, (str, int)) and not isinstance(value, bool) else None

    return delivery_id


def json_of(body: bytes) -> Any:
    """Return the decoded JSON, or None if it is invalid."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _usable(value: str) -> str | None:
    return value if value and len(value) <= LONGEST else None
