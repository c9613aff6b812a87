"""`.plug` files: their format, their values, the versions of Python and errbot that they require, and names of plugins."""

from __future__ import annotations

import configparser
import keyword
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from errklein.logs import escape
from errklein.ports.values import OF_NETWORK
from errklein.storage import OWN_NAMESPACES
from errklein.text.suggestions import did_you_mean

PACKAGE = "errklein_plugins"  # the package that contains a package for each plugin, with its modules
ERRBOT_VERSION = "6.2.1"  # the version of errbot that errklein reports to plugins
_PYTHON = re.compile(r"(\d+)(?:\.(\d+))?(?:\.(\d+))?\+?(?:-[\w.]+)?", re.ASCII)
_ERRBOT = re.compile(r"(\d+)\.(\d+)\.(\d+)(?:-(alpha|beta|rc(\d+)))?", re.ASCII)
_BEFORE_ALL_CANDIDATES = {"alpha": -1, "beta": 0}
_OF_NETWORKS = "_backend"  # the suffix of the namespaces in which networks store values


class PlugError(Exception):
    """A `.plug` file is invalid. The text is one line: the file, the problem, the expected value."""

    def __init__(self, path: Path, problem: str, expected: str) -> None:
        super().__init__(escape(f"{path}: {' '.join(problem.split())}; expected {expected}"))


@dataclass(frozen=True)
class PlugFile:
    """The values of a `.plug` file. `name` identifies the plugin in its storage, templates and access rules. `module`
    is the name of the Python file beside `path`, without `.py`. The versions are as written, and valid."""

    name: str
    module: str
    path: Path
    depends_on: tuple[str, ...] = ()
    description: str = ""
    python_version: str | None = None
    errbot_min: str | None = None
    errbot_max: str | None = None
    core: bool = False
    backend: bool = False

    @property
    def directory(self) -> Path:
        return self.path.parent

    @property
    def module_path(self) -> Path:
        return self.directory / f"{self.module}.py"

    def refusal(self) -> str | None:
        """Return the reason why the required versions exclude the plugin; None if they don't."""
        here = parse_errbot_version(ERRBOT_VERSION)
        provided = f"but errklein provides {ERRBOT_VERSION}; expected [Errbot]"
        if refusal := python_refusal(self.python_version):
            return refusal
        # Both are inclusive.
        if self.errbot_min is not None and here < parse_errbot_version(self.errbot_min):
            return f"it requires errbot {self.errbot_min} or newer, {provided} Min = {ERRBOT_VERSION} or older"
        if self.errbot_max is not None and here > parse_errbot_version(self.errbot_max):
            return f"it requires errbot {self.errbot_max} or older, {provided} Max = {ERRBOT_VERSION} or newer"
        return None

    @classmethod
    def load(cls, path: Path) -> PlugFile:
        """Read the file. Raises PlugError for every problem, including an unreadable file."""
        # A daemon may change its working directory before it reads the files again.
        path = path.absolute()
        parser = _parse(path)
        if not parser.has_section("Core"):
            raise PlugError(path, "it has no section [Core]", "[Core] with the keys Name and Module")
        needed = parser.get("Core", "DependsOn", fallback="")
        plug = cls(
            name=_required(parser, path, "Name", "the plugin's name"),
            module=_required(parser, path, "Module", "the name of the Python file beside it, without .py"),
            path=path,
            depends_on=tuple(name for part in needed.split(",") if (name := part.strip())),
            description=parser.get("Documentation", "Description", fallback=""),
            python_version=_version(parser, path, "Python", "Version"),
            errbot_min=_version(parser, path, "Errbot", "Min"),
            errbot_max=_version(parser, path, "Errbot", "Max"),
            core=_flag(parser, path, "Core"),
            backend=_flag(parser, path, "Backend"),
        )
        _check_module(plug)
        _check_name(plug)
        return plug


def _parse(path: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(path.read_bytes().decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise PlugError(path, f"byte {error.start} is not UTF-8", "text in UTF-8") from error
    except OSError as error:
        raise PlugError(path, f"it can't be read ({error.strerror})", "a readable file") from error
    except (
        configparser.MissingSectionHeaderError,
        configparser.DuplicateSectionError,
        configparser.DuplicateOptionError,
    ) as error:
        what = "repeats a section" if isinstance(error, configparser.DuplicateSectionError) else "repeats a key"
        if isinstance(error, configparser.MissingSectionHeaderError):
            what = "precedes all sections"
            if (wrong := error.line.strip()).startswith("["):
                raise PlugError(path, f"line {error.lineno} has no ']'", f"'{wrong}]', not '{wrong}'") from error
        raise PlugError(path, f"line {error.lineno} {what}", "sections such as [Core], each with keys, once") from error
    except configparser.ParsingError as error:
        line = error.errors[0][0]
        raise PlugError(path, f"line {line} is invalid", "[Section], Key = value, or # comment") from error
    return parser


def _required(parser: configparser.ConfigParser, path: Path, key: str, meaning: str) -> str:
    value = parser.get("Core", key, fallback="")
    if not value:
        raise PlugError(path, f"[Core] has no {key}", f"{key} = {meaning}, such as {key} = {path.stem}")
    if not value.isprintable():
        raise PlugError(path, f"[Core] {key} is {value!r}", f"one line: {meaning}")
    return value


def _version(parser: configparser.ConfigParser, path: Path, section: str, key: str) -> str | None:
    if (text := parser.get(section, key, fallback=None)) is None:
        return None
    try:
        if section == "Python":
            expected = "a version such as 3, 2+ or 3.11.2"
            parse_python_version(text)
        else:
            expected = "x.y.z, x.y.z-alpha, x.y.z-beta or x.y.z-rc1"
            parse_errbot_version(text)
    except ValueError as error:
        raise PlugError(path, f"[{section}] {key} is {text!r}", expected) from error
    return text


def _flag(parser: configparser.ConfigParser, path: Path, key: str) -> bool:
    try:
        return parser.getboolean("Core", key, fallback=False)
    except ValueError as error:
        raise PlugError(path, f"[Core] {key} is {parser.get('Core', key)!r}", "True or False") from error


def _check_module(plug: PlugFile) -> None:
    if plug.module != Path(plug.module).name or "\\" in plug.module:
        outside = f"[Core] Module is {plug.module!r}, outside of the directory"
        raise PlugError(plug.path, outside, "the name of a file beside it")
    if (name := plug.module.partition(".")[0]) != plug.module:
        expected = f"a name without dots, and without .py, such as {name!r}"
        raise PlugError(plug.path, f"[Core] Module is {plug.module!r}", expected)
    # os.path, since Path.is_file() raises OSError for names that are too long or directories that aren't accessible.
    if not os.path.isfile(plug.module_path):  # noqa: PTH113
        beside = [path.stem for path in plug.directory.glob("*.py")]
        missing = f"[Core] Module is {plug.module!r}, but there is no file {plug.module_path.name} beside it"
        raise PlugError(plug.path, missing, f"the name of a Python file{did_you_mean(plug.module, beside)}")


def _check_name(plug: PlugFile) -> None:
    of_network = plug.name.endswith(_OF_NETWORKS) and b"BotPlugin" in _source(plug)
    # Names of flows and networks aren't namespaces of the storage.
    is_namespace = plug.path.suffix == ".plug" and not plug.backend
    if is_namespace and (plug.name in OWN_NAMESPACES or plug.name.startswith(OF_NETWORK) or of_network):
        taken = f"[Core] Name is {plug.name!r}, which is reserved for the bot's own storage"
        raise PlugError(plug.path, taken, "another name")


def _source(plug: PlugFile) -> bytes:
    try:
        return plug.module_path.read_bytes()
    except OSError:
        return b""


def defines_storage(plug: PlugFile) -> bool:
    """Return whether the file probably defines a storage instead of a plugin, without running it."""
    source = _source(plug)
    return b"StoragePluginBase" in source and b"BotPlugin" not in source


def parse_errbot_version(text: str) -> tuple[int, int, int, int]:
    """Return a tuple that sorts alpha < beta < rc1 < rc2 < final. Raises ValueError unless it is like "x.y.z-rc1"."""
    if (match := _ERRBOT.fullmatch(text)) is None:
        raise ValueError(f"invalid version of errbot: {text!r}")
    major, minor, micro, suffix, candidate = match.groups()
    stage = sys.maxsize if suffix is None else _BEFORE_ALL_CANDIDATES.get(suffix, int(candidate or 0))
    return int(major), int(minor), int(micro), stage


def parse_python_version(text: str) -> tuple[int, int, int]:
    """Return the version of Python that a plugin requires a newer one than. "2+", written for Python 2 and 3, means 3.
    Raises ValueError unless `text` is like "3", "2+", "3.9" or "3.9.2", with an optional suffix as in "3.9.2-rc1"."""
    if text == "2+":
        return (3, 0, 0)
    if (match := _PYTHON.fullmatch(text)) is None:
        raise ValueError(f"invalid version of Python: {text!r}")
    major, minor, micro = (int(part or 0) for part in match.groups())
    return major, minor, micro


def python_refusal(required: str | None, running: tuple[int, int, int] | None = None) -> str | None:
    """Return the reason why `[Python] Version` excludes the Python `running`, by default this one; None if it doesn't.
    As in errbot, the named version is itself too old: "3.11.4" requires 3.11.5 or newer."""
    if required is None:
        return None
    if required == "2":
        return "it requires Python 2; expected [Python] Version = 3 if it also runs on Python 3"
    running = running or (sys.version_info.major, sys.version_info.minor, sys.version_info.micro)
    if parse_python_version(required) >= running:
        return f"it requires a Python newer than {required}, but this is {'.'.join(map(str, running))}"
    return None


def plugin_name(plugin: Any) -> str:
    """Return the name of a plugin or of flows: `name` if it is a text, as an override may be, and no command of that name."""
    return str(plugin.name if isinstance(plugin.name, str) else plugin._name)


def slug(name: str) -> str:
    """Return an identifier for a plugin's name. ASCII letters and digits stay, other characters become `_<hex>_`. For example, "My
    Plugin" becomes `My_20_Plugin`. Different names have different slugs, which don't begin with a digit and are no keywords."""
    written = "".join(one if one.isascii() and one.isalnum() else _escaped(one) for one in name)
    if written[:1].isdigit() or keyword.iskeyword(written):
        return _escaped(written[0]) + written[1:]
    return written


def _escaped(character: str) -> str:
    return f"_{ord(character):x}_"
