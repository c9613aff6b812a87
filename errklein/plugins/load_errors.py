"""What went wrong in a plugin's code, and where, in one line."""

from __future__ import annotations

from pathlib import Path
from traceback import format_exception_only, walk_tb

from errklein.plugins.plug_file import PlugFile
from errklein.text import truncated
from errklein.text.masking import masker

_LONGEST = 500


class PluginLoadError(Exception):
    """A plugin's code could not be loaded. `str()` is one line: the plugin, the file and line, the error."""

    @classmethod
    def of(cls, plug: PlugFile, package: str, error: BaseException) -> PluginLoadError:
        """The error to report when `error` came out of the plugin's code, whose modules live in `package`."""
        # Without the package, the names are those that the plugin's author gave.
        located = located_error(plug, error).replace(f"{package}.", "")
        return cls(f"{plug.name} could not be loaded: {located}")


def located_error(plug: PlugFile, error: BaseException) -> str:
    """The file and line of the plugin's own code where `error` was raised, or was passed on, and the error itself."""
    path, line = _place(plug, error)
    where = str(path) if line is None else f"{path}, line {line}"
    return f"{where}: {_what(error)}"


def _place(plug: PlugFile, error: BaseException) -> tuple[Path, int | None]:
    """The last line of the plugin's own code that had a part in it, or in what it came of."""
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
    # Before the text is cut, which could leave a part of a secret.
    return truncated(" ".join(masker(text).split()), _LONGEST)
