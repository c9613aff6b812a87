"""`errklein new-plugin`: asks what the plugin is to be called, and writes one that works, with its tests."""

from __future__ import annotations

import keyword
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9 _-]*")


@dataclass(frozen=True)
class NewPlugin:
    """A plugin to be written. An invalid name or description raises ValueError with one line."""

    name: str
    description: str = ""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r}: expected a name of letters, digits, blanks, '-' and '_', a letter first")
        if not self.description.isprintable():
            raise ValueError(f"{self.description!r}: expected one line")

    @property
    def module(self) -> str:
        """The name of its file, without `.py`."""
        module = "_".join(self._words).lower()
        return f"{module}_plugin" if keyword.iskeyword(module) else module

    @property
    def class_name(self) -> str:
        """The name of its class."""
        name = "".join(word[:1].upper() + word[1:] for word in self._words)
        return f"{name}Plugin" if keyword.iskeyword(name) or name == "BotPlugin" else name

    @property
    def _words(self) -> list[str]:
        return [word for word in re.split("[ _-]+", self.name) if word]

    def write(self, directory: Path) -> list[Path]:
        """Write the plugin into the directory, which is made if it isn't there; nothing is overwritten.

        Raises FileExistsError, or another OSError, with the file's name.
        """
        paths = {
            directory / f"{self.module}.plug": "new_plugin.plug.txt",
            directory / f"{self.module}.py": "new_plugin.py.txt",
            directory / f"test_{self.module}.py": "test_new_plugin.py.txt",
        }
        for path in paths:
            if path.exists():
                raise FileExistsError(17, "it is there already", str(path))
        directory.mkdir(parents=True, exist_ok=True)
        for path, template in paths.items():
            path.write_text(self._filled_in(template, path.suffix == ".py"), "utf-8")
        return list(paths)

    def _filled_in(self, template: str, is_python: bool) -> str:
        description = self.description or f"The plugin {self.name}."
        if is_python:
            # It stands in a docstring.
            description = description.replace("\\", "\\\\").replace('"', '\\"')
        text = (files("errklein.cli") / "templates" / template).read_text("utf-8")
        return Template(text).substitute(
            name=self.name, module=self.module, class_name=self.class_name, description=description
        )


def new_plugin_wizard(directory: str | Path | None = None, ask: Callable[[str], str] | None = None) -> None:
    """Ask for a name and a description, and write the plugin into the directory, by default the current one.

    Raises SystemExit with one line if it can't be written, or if nobody answers.
    """
    ask = ask or input
    directory = Path(directory or ".")
    sys.stdout.write(f"A new plugin will be written into {directory.absolute()}.\n")
    try:
        while True:
            name = ask("What is it called? ").strip()
            try:
                NewPlugin(name)
            except ValueError as error:
                sys.stdout.write(f"{error}\n")
                continue
            break
        description = "".join(filter(str.isprintable, ask("What does it do, in one line? "))).strip()
    except (EOFError, KeyboardInterrupt):
        raise SystemExit("errklein: nobody answered, so no plugin was written") from None
    write_plugin(directory, name, description)


def write_plugin(directory: Path, name: str, description: str = "") -> None:
    """Write the plugin and say what to do next; raises SystemExit with one line if that can't be done."""
    try:
        plugin = NewPlugin(name, description)
        paths = plugin.write(directory)
    except ValueError as error:
        raise SystemExit(f"errklein: {error}") from None
    except OSError as error:
        raise SystemExit(f"errklein: {error.filename}: {error.strerror}; no plugin was written") from None
    for path in paths:
        sys.stdout.write(f"{path}\n")
    sys.stdout.write(f"\nIts command is !hello_{plugin.module}. To run its tests:\n\n    trial {paths[-1]}\n")
