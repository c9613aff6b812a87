"""What a `.plug` file says, in the shape that errbot's backends and tools know."""

from __future__ import annotations

import sys
from configparser import ConfigParser
from dataclasses import dataclass
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TextIO

from errklein.plugins.plug_file import PlugFile
from errklein.plugins.requirements import parse_errbot_version, parse_python_version

Version = tuple[int, int, int]


@dataclass
class PluginInfo:
    """What a `.plug` or `.flow` file says.

    Versions are tuples that compare; those of errbot have a fourth number, for alpha, beta and release candidates.
    """

    name: str
    module: str
    doc: str | None
    core: bool
    python_version: Version | None
    errbot_minversion: tuple[int, ...] | None
    errbot_maxversion: tuple[int, ...] | None
    dependencies: list[str]
    location: Path | None = None

    @classmethod
    def of(cls, plug: PlugFile) -> PluginInfo:
        """The same as the `.plug` file that was read before says."""
        return cls(
            plug.name,
            plug.module,
            plug.description or None,
            plug.core,
            _python(plug.python_version),
            _errbot("Min", plug.errbot_min),
            _errbot("Max", plug.errbot_max),
            list(plug.depends_on),
            plug.path,
        )

    @staticmethod
    def load(plugfile_path: Path) -> PluginInfo:
        """Read the file; raises OSError, or as `parse` does."""
        with Path(plugfile_path).open(encoding="utf-8-sig") as plugfile:
            return PluginInfo.load_file(plugfile, Path(plugfile_path))

    @staticmethod
    def load_file(plugfile: TextIO, location: Path) -> PluginInfo:
        """Read an open file that lies at `location`; raises as `parse` does."""
        config = ConfigParser(interpolation=None)
        config.read_file(plugfile)
        info = PluginInfo.parse(config)
        info.location = location
        return info

    @staticmethod
    def parse(config: ConfigParser) -> PluginInfo:
        """What the sections say; raises configparser.Error for what is missing, and ValueError for bad versions."""
        depends_on = config.get("Core", "DependsOn", fallback="")
        return PluginInfo(
            config.get("Core", "Name"),
            config.get("Core", "Module"),
            config.get("Documentation", "Description", fallback=None),
            config.getboolean("Core", "Core", fallback=False),
            _python(config.get("Python", "Version", fallback=None)),
            _errbot("Min", config.get("Errbot", "Min", fallback=None)),
            _errbot("Max", config.get("Errbot", "Max", fallback=None)),
            [name.strip() for name in depends_on.split(",") if name.strip()],
        )

    def load_plugin_classes(self, base_module_name: str, baseclass: type) -> list[tuple[str, type]]:
        """Execute the module beside the file as `base_module_name.<Module>`; its subclasses of `baseclass`, by name.

        Raises whatever the module raises, and ValueError for information that came from no file.
        """
        if self.location is None:
            raise ValueError(f"{self.name}: it isn't known where its .plug file lies")
        name = f"{base_module_name}.{self.module}"
        spec = spec_from_file_location(name, self.location.parent / f"{self.module}.py")
        if spec is None or spec.loader is None:
            raise ValueError(f"{self.location}: {self.module}.py beside it can't be loaded")
        module = module_from_spec(spec)
        # Before it is executed: dataclasses and pickle look their module up.
        before = sys.modules.get(name)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            if before is None:
                del sys.modules[name]
            else:
                sys.modules[name] = before
            raise
        return [
            (key, value)
            for key, value in sorted(vars(module).items())
            if isinstance(value, type) and issubclass(value, baseclass) and value is not baseclass
        ]


def _python(text: str | None) -> Version | None:
    if text is None:
        return None
    if text == "2":
        return (2, 0, 0)
    try:
        return parse_python_version(text)
    except ValueError as error:
        raise ValueError(f"[Python] Version: {error}; expected a version such as 3, 2+ or 3.11.2") from error


def _errbot(key: str, text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return parse_errbot_version(text)
    except ValueError as error:
        raise ValueError(f"[Errbot] {key}: {error}; expected x.y.z, x.y.z-alpha, x.y.z-beta or x.y.z-rc1") from error
