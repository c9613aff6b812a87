"""`PluginInfo`: the content of a `.plug` file in the form that errbot's backends and tools use."""

from __future__ import annotations

import sys
from collections.abc import Callable
from configparser import ConfigParser
from dataclasses import dataclass, replace
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import module_from_spec
from pathlib import Path
from typing import TextIO, TypeVar

from errklein.plugins.plug_file import PlugFile, parse_errbot_version, parse_python_version

V = TypeVar("V")


@dataclass
class PluginInfo:
    """The content of a `.plug` or `.flow` file. Versions are tuples, which can be compared. Those of errbot have a
    fourth number for alpha, beta and release candidate versions."""

    name: str
    module: str
    doc: str | None
    core: bool
    python_version: tuple[int, int, int] | None
    errbot_minversion: tuple[int, ...] | None
    errbot_maxversion: tuple[int, ...] | None
    dependencies: list[str]
    location: Path | None = None

    @classmethod
    def of(cls, plug: PlugFile) -> PluginInfo:
        """Return the information in a `.plug` file that errklein has already read."""
        return cls(
            plug.name,
            plug.module,
            plug.description or None,
            plug.core,
            _version(plug.python_version, parse_python_version),
            _version(plug.errbot_min, parse_errbot_version),
            _version(plug.errbot_max, parse_errbot_version),
            list(plug.depends_on),
            plug.path,
        )

    @staticmethod
    def load(plugfile_path: Path) -> PluginInfo:
        """Read the file.

        :raises OSError: if it can't be read.
        :raises configparser.Error: if the Name or Module is missing.
        :raises ValueError: if a version is invalid.
        """
        with Path(plugfile_path).open(encoding="utf-8-sig") as plugfile:
            return PluginInfo.load_file(plugfile, Path(plugfile_path))

    @staticmethod
    def load_file(plugfile: TextIO, location: Path) -> PluginInfo:
        """Read an open file; `location` is its path. Raises the errors of `parse`."""
        config = ConfigParser(interpolation=None)
        config.read_file(plugfile)
        return replace(PluginInfo.parse(config), location=location)

    @staticmethod
    def parse(config: ConfigParser) -> PluginInfo:
        """Return the information in the sections.

        :raises configparser.Error: if the Name or Module is missing.
        :raises ValueError: if a version is invalid.
        """
        depends_on = config.get("Core", "DependsOn", fallback="")
        return PluginInfo(
            config.get("Core", "Name"),
            config.get("Core", "Module"),
            config.get("Documentation", "Description", fallback=None),
            config.getboolean("Core", "Core", fallback=False),
            _version(config.get("Python", "Version", fallback=None), parse_python_version),
            _version(config.get("Errbot", "Min", fallback=None), parse_errbot_version),
            _version(config.get("Errbot", "Max", fallback=None), parse_errbot_version),
            [name.strip() for name in depends_on.split(",") if name.strip()],
        )

    def load_plugin_classes(self, base_module_name: str, baseclass: type) -> list[tuple[str, type]]:
        """Execute the module beside the file as `base_module_name.<Module>`.

        :returns: Pairs of name and class for its subclasses of `baseclass`, sorted by name.
        :raises ValueError: if the information has no `location`.

        An exception of the module itself is raised as it is.
        """
        if self.location is None:
            raise ValueError(f"the location of the .plug file of {self.name} is unknown; use PluginInfo.load()")
        name = f"{base_module_name}.{self.module}"
        loader = SourceFileLoader(name, str(self.location.parent / f"{self.module}.py"))
        # Dataclasses and pickle look up the module in sys.modules while it is executed.
        sys.modules[name] = module = module_from_spec(ModuleSpec(name, loader, origin=loader.path))
        try:
            loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
        return [
            (key, value)
            for key, value in sorted(vars(module).items())
            if isinstance(value, type) and issubclass(value, baseclass) and value is not baseclass
        ]


def _version(text: str | None, parse: Callable[[str], V]) -> V | None:
    return None if text is None else parse(text)
