"""Errors in a plugin's code, as one line with file and line number."""

from __future__ import annotations

from pathlib import Path
from traceback import format_exception_only, walk_tb

from errklein.plugins.plug_file import PlugFile
from errklein.text import truncated
from errklein.text.masking import masker
from errklein.text.remedies import remedy_line
from errklein.text.source_excerpt import source_excerpt

_LONGEST = 500


class PluginLoadError(Exception):
    """A plugin's code can't be loaded. The text is one line with the plugin, the file and line, and the error.

    `source` is the line of the source, and a remedy if it is known, each on a line; "" if the source can't be read.
    """

    source = ""

    @classmethod
    def of(cls, plug: PlugFile, package: str, error: BaseException) -> PluginLoadError:
        """Return the PluginLoadError for an exception of the plugin's code. `package` contains the plugin's modules."""
        # Without the package, modules have the names that the plugin's author knows.
        located = located_error(plug, error).replace(f"{package}.", "")
        made = cls(f"{plug.name} could not be loaded: {located}")
        path, line = _place(plug, error)
        column = error.offset if isinstance(error, SyntaxError) else None
        excerpt = source_excerpt(path, line, column) if line is not None else ""
        made.source = "\n".join(part for part in (excerpt, remedy_line(error)) if part)
        return made


def located_error(plug: PlugFile, error: BaseException) -> str:
    """Return the error with the file and line of the plugin's own code that raised it or called what raised it.

    For example `/srv/plugins/hello.py, line 7: ZeroDivisionError: division by zero`.
    """
    path, line = _place(plug, error)
    where = str(path) if line is None else f"{path}, line {line}"
    return f"{where}: {_what(error)}"


def _place(plug: PlugFile, error: BaseException) -> tuple[Path, int | None]:
    """Return the last line of the plugin's own code in the traceback of the exception or of its cause."""
    cause = error.__cause__
    place = (plug.module_path, None) if cause is None else _place(plug, cause)
    for frame, line in walk_tb(error.__traceback__):
        if Path(frame.f_code.co_filename).is_relative_to(plug.directory):
            place = Path(frame.f_code.co_filename), line
    if isinstance(error, SyntaxError) and Path(error.filename or "").is_relative_to(plug.directory):
        place = Path(error.filename or ""), error.lineno
    return place


def _what(error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        text = f"{type(error).__name__}: {error.msg}"
    else:
        text = format_exception_only(error)[0]
    # Masked before it is cut, since a part of a secret wouldn't be recognized.
    return truncated(" ".join(masker(text).split()), _LONGEST)
