"""Creation of files, without ever overwriting one: `errklein new-plugin` and `errklein examples`, and the command `errbot`."""

from __future__ import annotations

import keyword
import re
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import as_file, files
from os.path import lexists
from pathlib import Path
from string import Template

_ERRBOT = """\
#!/bin/sh
# errbot's command line, run by errklein. Written by `errklein errbot-command`.
exec {python} -P -c 'import sys; from errklein.cli.errbot_options import main; sys.exit(main())' "$@"
"""


def write_errbot_command(directory: Path) -> None:
    """Write a command `errbot` that runs errklein, and print its path. Raises SystemExit with one line if one exists."""
    path = directory / "errbot"
    if not directory.is_dir():
        raise SystemExit(f"errklein: {directory} is not a directory; name one of PATH, such as /usr/local/bin")
    write_new_files({path: _ERRBOT.format(python=shlex.quote(sys.executable))})
    path.chmod(0o755)
    sys.stdout.write(f"{path} runs errklein with errbot's options\n")


def read_template(name: str) -> str:
    """Return the text of a file in `templates`."""
    return (files("errklein.cli") / "templates" / name).read_text("utf-8")


def write_new_files(texts: Mapping[Path, str], *, keep_same: bool = False) -> list[Path]:
    """Create the files and their directories, and return their paths. Raises SystemExit with one line if a file exists, and
    creates none then, or if one can't be written. With `keep_same`, a file that exists with the same text is left."""
    new = []
    try:
        for path, text in texts.items():
            if not lexists(path):
                new.append(path)
            elif not keep_same or path.read_bytes() != text.encode():
                differs = " and differs" if keep_same else ""
                raise SystemExit(f"errklein: {path} exists already{differs}; no file was written")
        for path in new:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(texts[path].encode())
    except OSError as error:
        raise SystemExit(f"errklein: {error.filename} can't be written: {error.strerror}") from None
    return new


def write_examples(directory: Path) -> None:
    """Write the files for servers, proxies and monitoring to the directory, and print the paths of the new ones. Raises
    SystemExit with one line, and writes nothing, if a file exists with another content."""
    with as_file(files("errklein") / "examples") as source:
        found = [path for path in sorted(source.rglob("*")) if path.is_file() and path.suffix != ".pyc"]
        texts = {directory / path.relative_to(source): path.read_text("utf-8") for path in found}
        new = write_new_files(texts, keep_same=True)
    sys.stdout.write("".join(f"{path}\n" for path in new) or f"{directory} has all examples already\n")


_NAME = re.compile(r"[A-Za-z][A-Za-z0-9 _-]*")
_EXPECTED = "expected a letter, followed by letters, digits, spaces, '-' and '_'"


@dataclass
class NewPlugin:
    """The name and description of a plugin to create, and the texts of its files. The constructor raises ValueError
    with one line for an invalid name or description."""

    name: str
    description: str = ""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"invalid name {self.name!r}: {_EXPECTED}")
        if not self.description.isprintable():
            raise ValueError(f"invalid description {self.description!r}: expected one line of printable text")
        words = [word for word in re.split("[ _-]+", self.name) if word]
        module, cls = "_".join(words).lower(), "".join(word[:1].upper() + word[1:] for word in words)
        # The name of the module is also that of its folder, and part of its command.
        self.module = f"{module}_plugin" if keyword.iskeyword(module) else module
        self.class_name = f"{cls}Plugin" if keyword.iskeyword(cls) or cls == "BotPlugin" else cls

    def files(self, directory: Path) -> dict[Path, str]:
        """Return the text of each file, by its path in the directory: the .plug file, the module, the tests."""
        description = self.description or f"The plugin {self.name}."
        # The modules have the description in a docstring.
        escaped = description.replace("\\", "\\\\").replace('"', '\\"')
        return {
            directory / f"{self.module}.plug": self._filled_in("new_plugin.plug.txt", description),
            directory / f"{self.module}.py": self._filled_in("new_plugin.py.txt", escaped),
            directory / f"test_{self.module}.py": self._filled_in("test_new_plugin.py.txt", escaped),
        }

    def _filled_in(self, template: str, description: str) -> str:
        values = {"name": self.name, "module": self.module, "class_name": self.class_name, "description": description}
        return Template(read_template(template)).substitute(values)


def new_plugin_wizard(directory: str | Path | None = None, ask: Callable[[str], str] | None = None) -> None:
    """Ask for a name and a description, and write the plugin as `write_plugin` does, by default in the current directory.
    `ask` returns the reply to a question, as `input` does. Raises SystemExit with one line if the input ends."""
    ask = ask or input
    directory = Path(directory or ".")
    sys.stdout.write(f"Creates a plugin in {directory.absolute()}.\n")
    try:
        while not _NAME.fullmatch(name := ask("Name: ").strip()):
            sys.stdout.write(f"invalid name {name!r}: {_EXPECTED}\n")
        description = "".join(filter(str.isprintable, ask("Description, one line: "))).strip()
    except (EOFError, KeyboardInterrupt):
        raise SystemExit("errklein: no plugin was created, since the input ended") from None
    write_plugin(directory, name, description)


def write_plugin(directory: Path, name: str, description: str = "") -> None:
    """Write the plugin into a folder of its own in the directory, and print how to run its tests. The folder has the
    name of the plugin's module; a directory of that name is used itself. Raises SystemExit with one line if the name or
    the description is invalid, if the folder has other plugins, or if a file exists or can't be written."""
    try:
        plugin = NewPlugin(name, description)
    except ValueError as error:
        raise SystemExit(f"errklein: {error}") from None
    folder = directory if directory.resolve().name == plugin.module else directory / plugin.module
    if any(folder.glob("*/*.plug")):
        raise SystemExit(
            f"errklein: {folder} is a directory of plugins; append the name of the new one: errklein new-plugin {folder}/NAME"
        )
    texts = plugin.files(folder)
    write_new_files(texts)
    *_, tests = texts
    # trial takes an argument without a slash for the name of a module.
    command = shlex.join(["trial", str(tests) if "/" in str(tests) else f"./{tests}"])
    sys.stdout.write(
        "".join(f"{path}\n" for path in texts)
        + f"\nThe plugin has a command, !hello_{plugin.module}, and a webhook, /{plugin.module}.\n"
        f"The bot loads it if its folder is below BOT_EXTRA_PLUGIN_DIR. To run its tests:\n\n    {command}\n"
    )
