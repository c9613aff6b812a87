"""Errors in a plugin's code, as one line with file and line number."""

from __future__ import annotations

import re
from traceback import format_exception_only

from errklein.plugins.plug_file import PACKAGE, PlugFile
from errklein.text import truncated
from errklein.text.errors import line_in, remedy_line, source_excerpt
from errklein.text.masking import masker

_LONGEST = 500

_PACKAGE = re.compile(rf"\b{PACKAGE}\.\w+\.")  # the name of the package that contains a plugin's modules


class PluginLoadError(Exception):
    """A plugin's code can't be loaded. The text is one line with the plugin, the file and line, and the error. `source`
    is the line of the source, and a remedy if it is known, each on a line; "" if the source can't be read."""

    source = ""

    @classmethod
    def of(cls, plug: PlugFile, error: BaseException) -> PluginLoadError:
        """Return the PluginLoadError for an exception of the plugin's code."""
        made = cls(f"{plug.name} could not be loaded: {located_error(plug, error)}")
        path, line = line_in(plug.directory, error) or (plug.module_path, None)
        column = error.offset if isinstance(error, SyntaxError) else None
        excerpt = source_excerpt(path, line, column) if line is not None else ""
        made.source = "\n".join(part for part in (excerpt, remedy_line(error)) if part)
        return made


def located_error(plug: PlugFile, error: BaseException) -> str:
    """Return the error with the file and line of the plugin's own code that raised it or called what raised it. For
    example `/srv/plugins/hello.py, line 7: ZeroDivisionError: division by zero`."""
    return f"{error_place(plug, error)}: {described_error(error)}"


def error_place(plug: PlugFile, error: BaseException) -> str:
    """Return the file and line of the plugin's own code, for example `/srv/plugins/hello.py, line 7`."""
    path, line = line_in(plug.directory, error) or (plug.module_path, None)
    return str(path) if line is None else f"{path}, line {line}"


def described_error(error: BaseException) -> str:
    """Return the exception's type and text on one line, with secrets masked."""
    if isinstance(error, SyntaxError):
        text = f"{type(error).__name__}: {error.msg}"
    else:
        text = format_exception_only(error)[0]
        # The modules of errklein's own exceptions are of no use to operators, and some are private.
        if type(error).__module__.startswith("errklein."):
            text = text.removeprefix(f"{type(error).__module__}.")
    # The text may contain the body of a request. Without the package, modules have the names that the plugin's author knows.
    text = _PACKAGE.sub("", masker.part(text, 0, 10 * _LONGEST))
    return truncated(" ".join(text.split()), _LONGEST)
