"""JSON in the format of Flask: ASCII, with sorted keys, dates, UUIDs, decimals and dataclasses."""

from __future__ import annotations

import dataclasses
import json
import uuid
from datetime import date
from decimal import Decimal
from typing import Any

from werkzeug.http import http_date


def dumps(value: Any, **options: Any) -> str:
    """Return a value as JSON in ASCII, with sorted keys. Dates are written as HTTP dates, UUIDs and decimals as strings,
    dataclasses as objects. The options are those of `json.dumps`."""
    options.setdefault("default", _default)
    options.setdefault("sort_keys", True)
    return json.dumps(value, **options)


def dump_body(value: Any) -> str:
    """Return a value as the body of a response; see `dumps`. Raises ValueError: it has NaN or an infinite number."""
    return _encode_body(value) + "\n"


loads = json.loads


def _default(value: Any) -> Any:
    if isinstance(value, date):
        return http_date(value)
    if isinstance(value, (Decimal, uuid.UUID)):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if hasattr(value, "__html__"):
        return str(value.__html__())
    raise TypeError(f"{type(value).__name__} has no JSON form")


_encode_body = json.JSONEncoder(default=_default, sort_keys=True, separators=(",", ":"), allow_nan=False).encode
