"""Logging: destinations, the format of lines, and the bridge to the standard library's logging."""

from errklein.logs._output import (
    FROM_STDLIB,
    FROM_TWISTED,
    Bridge,
    Destinations,
    FormattedByLogging,
    LevelFilter,
    RecentErrors,
    bridge_stdlib,
    destinations,
    escape,
    format_line,
    last_lines,
    level_number,
    observer,
    record_of,
    warn_deprecated,
)
