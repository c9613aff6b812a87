"""The import machinery that creates the modules of `errbot` and `flask` from the table in names.txt. Each module is
created at its first import. Its names are looked up in errklein's modules at each access."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import find_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from errklein.compat import errbot_package
from errklein.text.suggestions import did_you_mean

FACADES: Mapping[str, str] = {"errbot": "errklein.compat.errbot", "flask": "errklein.compat.flask"}
"""The packages that errklein provides, and the names of its modules for them."""


def _read() -> dict[str, dict[str, str]]:
    provided: dict[str, dict[str, str]] = {}
    for line in (Path(__file__).parent / "names.txt").read_text("utf-8").splitlines():
        words = line.split()
        if not words or words[0] == "#":
            continue
        if not line.startswith(" "):
            found = provided[line] = {}
            continue
        module = words.pop(0).removesuffix(":")
        for word in words:
            name, renamed, there = word.partition("=")
            found[name] = module if renamed and not there else f"{module}:{there or name}"
    return provided


PROVIDED: Mapping[str, Mapping[str, str]] = _read()
"""For each module of errbot and Flask, the location of each name: "module:name", or "module" for a module."""

ERRBOT: Mapping[str, Mapping[str, str]] = {module: names for module, names in PROVIDED.items() if module != "flask"}
"""The modules of errbot among them."""

_ALL = (
    "BotFlow BotPlugin Command CommandError FLOW_END Flow FlowRoot arg_botcmd botcmd botflow botmatch cmdfilter re_botcmd "
    "webhook webroute"
)

EXPORTED: Mapping[str, tuple[str, ...]] = {"errbot": tuple(_ALL.split())}
"""`__all__` of the modules in which it doesn't contain every name."""

_ERRBOT_HERE = FACADES["errbot"]

PACKAGE_DIRECTORY = Path(errbot_package.__file__).parent
"""The directory of `errbot.__file__`. Its file config-template.py is the module `errbot.config-template`."""


class FacadeModule(ModuleType):
    """A module whose names refer to objects in errklein's modules. An AttributeError has errbot's name for it."""

    def __init__(self, name: str, errbot_name: str, names: Mapping[str, str]) -> None:
        # PYTEST_DONT_REWRITE prevents pytest's warning that it can't rewrite the assertions of this module.
        super().__init__(name, f"errklein's implementation of {errbot_name}.\n\nPYTEST_DONT_REWRITE")
        self._errbot_name = errbot_name
        self._names = names
        self.__all__ = sorted(EXPORTED.get(errbot_name, names))

    def __getattr__(self, name: str) -> Any:
        # The value isn't cached, because some names change their value, for example when a module is reloaded.
        if (target := self._names.get(name)) is not None:
            module, _, attribute = target.partition(":")
            return getattr(import_module(module), attribute) if attribute else import_module(module)
        if f"{self._errbot_name}.{name}" in ERRBOT:
            return import_module(f"{self.__name__}.{name}")
        raise AttributeError(f"errklein doesn't have {self._errbot_name}.{name}", name=name, obj=self)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._names})


def install(force: bool = False) -> None:
    """Make errklein's `errbot` and `flask` importable for other code than plugins, in place of installed ones only if `force`."""
    for name in FACADES:
        if force or not (name in sys.modules or find_spec(name) is not None):
            stand_in_for(name)


def stand_in_for(name: str) -> None:
    """Make all later imports of a package return errklein's, even if the real package is installed."""
    ours = FACADES[name]
    for module in [known for known in sys.modules if known.startswith(name + ".")]:
        del sys.modules[module]
    sys.modules[name] = import_module(ours)
    if name == "errbot":
        for module in ERRBOT:
            sys.modules[module] = import_module(ours + module.removeprefix("errbot"))


def step_aside(name: str) -> None:
    """Undo `stand_in_for` for the package, so that later imports find one that was installed meanwhile."""
    if name in FACADES and sys.modules.get(name) is sys.modules.get(FACADES[name]):
        sys.modules.pop(name, None)


class _FacadeFinder(MetaPathFinder):
    """Finds `errklein.compat.errbot` and its submodules; raises a clear error for modules that errklein lacks."""

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: Any = None) -> ModuleSpec | None:
        if (name := _errbot_name(fullname)) is None:
            return None
        if name not in PROVIDED:
            # With errbot's name for the module: `from errbot import name` would ignore an error for the other name.
            module, _, last = name.rpartition(".")
            meant = did_you_mean(last, ERRBOT.get(module, ()))
            raise ModuleNotFoundError(f"errklein doesn't have {name}{meant}", name=name)
        file = str(PACKAGE_DIRECTORY / "__init__.py")
        loader = _FacadeLoader(fullname, file)
        if name == "errbot":
            places = [str(PACKAGE_DIRECTORY)]
            return spec_from_file_location(fullname, file, loader=loader, submodule_search_locations=places)
        # Every module is a package, so that the import system asks this finder for unknown submodules as well.
        return ModuleSpec(fullname, loader, is_package=True)


class _FacadeLoader(SourceFileLoader):
    """Creates the modules, and reads the package's files for importlib.resources and pkgutil."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        name = _errbot_name(spec.name) or spec.name
        return FacadeModule(spec.name, name, PROVIDED[name])

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing: the module looks up its names at each access."""


def _errbot_name(fullname: str) -> str | None:
    if fullname == FACADES["flask"]:
        return "flask"
    if fullname == _ERRBOT_HERE or fullname.startswith(_ERRBOT_HERE + "."):
        return "errbot" + fullname.removeprefix(_ERRBOT_HERE)
    if fullname.startswith("errbot.") and isinstance(sys.modules.get("errbot"), FacadeModule):
        return fullname
    return None


sys.meta_path.append(_FacadeFinder())

_PACKAGE = "errbot.plugins"
_PACKAGE_HERE = f"{_ERRBOT_HERE}.plugins"


def publish(name: str, module: ModuleType) -> None:
    """Make errbot's name for a plugin's module refer to `module`, until another module of that name is loaded."""
    for package in (_PACKAGE, _PACKAGE_HERE):
        sys.modules[f"{package}.{name}"] = module
    setattr(import_module(_PACKAGE_HERE), name, module)


def withdraw(name: str, module: ModuleType) -> None:
    if sys.modules.get(f"{_PACKAGE_HERE}.{name}") is module:
        for package in (_PACKAGE, _PACKAGE_HERE):
            sys.modules.pop(f"{package}.{name}", None)
        vars(import_module(_PACKAGE_HERE)).pop(name, None)
