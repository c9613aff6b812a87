"""Logging: destinations, the format of a line, records of the standard library, and Sentry."""

from errklein.logs.output import (
    FROM_STDLIB,
    FROM_TWISTED,
    LEVELS,
    OBSERVER,
    Bridge,
    Destinations,
    LevelFilter,
    PrivateLogFile,
    bridge_stdlib,
    destinations,
    escape,
    format_line,
    observer,
    places,
    traceback_of,
    use_with_twist,
)

__all__ = [
    "FROM_STDLIB",
    "FROM_TWISTED",
    "LEVELS",
    "OBSERVER",
    "Bridge",
    "Destinations",
    "LevelFilter",
    "PrivateLogFile",
    "bridge_stdlib",
    "destinations",
    "escape",
    "format_line",
    "observer",
    "places",
    "traceback_of",
    "use_with_twist",
]
