"""The places in the code at which threads are, from their frames."""

from __future__ import annotations

import linecache
import re
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from errklein.plugins.names import PACKAGE

_DEBUGGERS = frozenset({"bdb", "pdb"})
_POLLING = frozenset({"doPoll", "doSelect", "doKEvent"})


@dataclass(frozen=True)
class Place:
    """A line of code that a thread executes. `plugin` and `handler` are empty outside of plugins."""

    plugin: str
    handler: str
    file: str
    line: int

    def __str__(self) -> str:
        """Return the handler, the plugin, the file and the line."""
        place = f"{self.file}, line {self.line}"
        return f"{self.handler} (plugin {self.plugin}), {place}" if self.plugin else place

    @property
    def statement(self) -> str:
        """The line of the source; "" if it can't be read."""
        linecache.checkcache(self.file)
        return linecache.getline(self.file, self.line).strip()


def place_of(frame: FrameType) -> Place:
    """Return the innermost line of a plugin that the frame executes; without one, that of errklein, or the frame's own.

    The handler is the outermost function of that plugin.
    """
    frames = list(_callers(frame))
    for one in frames:
        if package := _plugin_package(one):
            handler = [outer for outer in frames if _plugin_package(outer) == package][-1]
            return Place(_plugin_name(package), handler.f_code.co_qualname, one.f_code.co_filename, _line(one))
    own = next((one for one in frames if _module(one).startswith("errklein.")), frame)
    return Place("", "", own.f_code.co_filename, _line(own))


def line_in_tracebacks(tracebacks: str) -> str:
    """Return the file and line of the innermost code that is neither Python's, an installed package's nor errklein's.

    :param tracebacks: The tracebacks of all threads that faulthandler has written, that of the main thread last, which is
        searched first.
    :returns: "" if there is no such line.
    """
    libraries = [Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib")]
    libraries.append(Path(__file__).parent.parent)
    for thread in reversed(tracebacks.split("\n\n")):
        for file, line in re.findall(r'^  File "(/[^"\n]*)", line (\d+) in ', thread, re.MULTILINE):
            if not any(map(Path(file).is_relative_to, libraries)):
                return f"{file}, line {line}"
    return ""


def waits_for_events(frame: FrameType) -> bool:
    """Return whether the frame is that of a reactor, or of asyncio's loop, that has nothing to do."""
    caller = frame.f_back
    if _module(frame) == "selectors" and caller is not None:
        return _module(caller) == "asyncio.base_events" and caller.f_code.co_name == "_run_once"
    return frame.f_code.co_name in _POLLING and _module(frame).startswith("twisted.internet.")


def is_debugged(frame: FrameType) -> bool:
    """Return whether a debugger controls the thread, which may stop it for any time."""
    monitoring: Any = getattr(sys, "monitoring", None)
    if monitoring is not None and monitoring.get_tool(monitoring.DEBUGGER_ID) is not None:
        return True
    return any(_traces(one.f_trace) or _module(one) in _DEBUGGERS for one in _callers(frame))


def _traces(trace: Any) -> bool:
    """Return whether a frame's trace function is one of a debugger; coverage.py has some, too, which stop nothing."""
    module = getattr(trace, "__module__", None) or type(trace).__module__
    return trace is not None and module.partition(".")[0] != "coverage"


def _callers(frame: FrameType) -> Iterator[FrameType]:
    """Yield the frame, the one that called it, and so on."""
    one: FrameType | None = frame
    while one is not None:
        yield one
        one = one.f_back


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))


def _line(frame: FrameType) -> int:
    """Return the line that the frame executes, or that of its function for an instruction without a line."""
    line: int | None = frame.f_lineno
    return frame.f_code.co_firstlineno if line is None else line


def _plugin_package(frame: FrameType) -> str:
    """Return the name of the package of the plugin that the frame's code belongs to, without PACKAGE; "" if none."""
    package, _, rest = _module(frame).partition(".")
    return rest.partition(".")[0] if package == PACKAGE else ""


def _plugin_name(package: str) -> str:
    # The inverse of `slug`.
    return re.sub("_([0-9a-f]+)_", lambda found: chr(int(found[1], 16)), package)
