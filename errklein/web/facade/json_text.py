"""JSON as Flask writes it."""

from __future__ import annotations

import dataclasses
import json
import uuid
from datetime import date
from decimal import Decimal
from typing import Any

from werkzeug.http import http_date


def dumps(value: Any, **options: Any) -> str:
    """The value as JSON in ASCII, with sorted keys. Raises TypeError or ValueError for what JSON can't say.

    Dates are written as HTTP dates, UUIDs and decimals as strings, dataclasses as objects.
    """
    options.setdefault("default", _default)
    options.setdefault("sort_keys", True)
    return json.dumps(value, **options)


def dump_body(value: Any) -> str:
    """The value as the body of an answer. Raises ValueError for NaN and infinite numbers, which aren't JSON."""
    return dumps(value, separators=(",", ":"), allow_nan=False) + "\n"


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
    raise TypeError(f"a {type(value).__name__} can't be written as JSON")
