"""Rates of requests, as texts such as "10/s", and durations such as "10min"."""

from __future__ import annotations

import re
from dataclasses import dataclass

from errklein.webhooks.errors import InvalidOption

_RATE = re.compile(r"([1-9][0-9]{0,8})/(s|min|h)")
_SECONDS = {"s": 1, "min": 60, "h": 3600}

_DURATION = re.compile(r"([0-9]{1,9})(s|m|min|h|d|w)")
_DURATIONS = {**_SECONDS, "m": 60, "d": 86400, "w": 604800}


def duration_of(text: str) -> int | None:
    """Return the seconds of a duration such as "300s", "10min" or "10m", "12h", "3d" or "1w"; None if the text is none."""
    match = _DURATION.fullmatch(text)
    return int(match[1]) * _DURATIONS[match[2]] if match else None


@dataclass(frozen=True, slots=True)
class Rate:
    """A number of requests in a period of `seconds`. After a pause, `count` of them may arrive at once."""

    count: int
    seconds: int

    @classmethod
    def of(cls, text: object) -> Rate:
        """Return the rate of a text such as "10/s", "100/min" or "1000/h"; raise InvalidOption."""
        match = _RATE.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise InvalidOption("a rate such as '10/s', '100/min' or '1000/h'", text)
        return cls(int(match[1]), _SECONDS[match[2]])

    def __str__(self) -> str:
        return f"{self.count}/{next(unit for unit, seconds in _SECONDS.items() if seconds == self.seconds)}"

    @property
    def interval(self) -> float:
        """The seconds in which one request is allowed."""
        return self.seconds / self.count
