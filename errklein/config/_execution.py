"""Execution of a config.py, and the errors in its code, with the source line and a remedy."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from types import ModuleType

from errklein.config._settings import ConfigError
from errklein.text.errors import error_text
from errklein.text.remedies import remedy_line, source_excerpt
from errklein.text.suggestions import did_you_mean_path


def run_config(path: Path) -> ModuleType:
    """Run the file as a module, and return it.

    :raises ConfigError: if the file can't be read or raises an exception; with the line that failed.
    """
    try:
        source = path.read_bytes()
    except FileNotFoundError:
        raise ConfigError(
            f"no configuration file at {path}{did_you_mean_path(path) or ';'} create one with `errklein init {path.parent}`, or name another "
            "with --config"
        ) from None
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror}") from None
    name = path.stem
    module = ModuleType(name)
    module.__file__ = str(path)
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    # Plugins may import the file by its name. Another module of that name is not replaced.
    if getattr(sys.modules.get(name, module), "__file__", None) == str(path):
        sys.modules[name] = module
    try:
        exec(compile(source, str(path), "exec"), vars(module))  # noqa: S102  a config.py is Python
    except SyntaxError as error:
        raise _invalid(path, error) from None
    except (Exception, SystemExit) as error:
        raise _raised(path, error) from None
    return module


def _invalid(path: Path, error: SyntaxError) -> ConfigError:
    file = Path(error.filename or path)
    # For a NUL byte, for example, the line isn't known.
    line = f" at line {error.lineno}" if error.lineno else ""
    excerpt = source_excerpt(file, error.lineno, error.offset) if error.lineno else ""
    return ConfigError(f"{file} isn't valid Python{line}: {error.msg}", source=excerpt)


def _raised(path: Path, error: BaseException) -> ConfigError:
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    line = lines[-1] if lines else None
    raised = f"{path} raised {type(error).__name__}" + (f" at line {line}" if line else "")
    text = error_text(error)
    excerpt = source_excerpt(path, line) if line else ""
    source = "\n".join(part for part in (excerpt, remedy_line(error, quote=True)) if part)
    return ConfigError(raised if text == type(error).__name__ else f"{raised}: {text}", source=source)
