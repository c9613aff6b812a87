"""`errklein new-plugin`: asks what the plugin is to be called, and writes one that works, with its tests."""

from __future__ import annotations

import keyword
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from string import Template

from errklein.cli._new_files import read_template, write_new_files

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

    def files(self, directory: Path) -> dict[Path, str]:
        """The texts of its files, the last of which has the tests."""
        description = self.description or f"The plugin {self.name}."
        # In the modules, the description stands in a docstring.
        escaped = description.replace("\\", "\\\\").replace('"', '\\"')
        return {
            directory / f"{self.module}.plug": self._filled_in("new_plugin.plug.txt", description),
            directory / f"{self.module}.py": self._filled_in("new_plugin.py.txt", escaped),
            directory / f"test_{self.module}.py": self._filled_in("test_new_plugin.py.txt", escaped),
        }

    def _filled_in(self, template: str, description: str) -> str:
        return Template(read_template(template)).substitute(
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
    except ValueError as error:
        raise SystemExit(f"errklein: {error}") from None
    texts = plugin.files(directory)
    write_new_files(texts)
    sys.stdout.write("".join(f"{path}\n" for path in texts))
    sys.stdout.write(f"\nIts command is !hello_{plugin.module}. To run its tests:\n\n    trial {list(texts)[-1]}\n")
