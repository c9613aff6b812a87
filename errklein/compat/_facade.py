"""Modules that look like errbot's, made from the table of names when they are first imported."""

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
from errklein.compat._names import ERRBOT, EXPORTED, FACADES, PROVIDED

_ERRBOT_HERE = FACADES["errbot"]

PACKAGE_DIRECTORY = Path(errbot_package.__file__).parent
"""The directory of `errbot.__file__`. Python finds `errbot.config-template` there by `errbot.__path__`."""


class FacadeModule(ModuleType):
    """A module whose names are found where errklein has them, each when it is asked for."""

    def __init__(self, name: str, errbot_name: str, names: Mapping[str, str]) -> None:
        # The second sentence is for pytest, which would warn that it can't rewrite what it imports as a plugin.
        super().__init__(name, f"What errklein has of {errbot_name}.\n\nPYTEST_DONT_REWRITE")
        self._errbot_name = errbot_name
        self._names = names
        self.__all__ = sorted(EXPORTED.get(errbot_name, names))

    def __getattr__(self, name: str) -> Any:
        # Not kept: some have another value later, such as those of modules that are loaded again.
        target = self._names.get(name)
        if target is not None:
            module, _, attribute = target.partition(":")
            return getattr(import_module(module), attribute) if attribute else import_module(module)
        if f"{self._errbot_name}.{name}" in ERRBOT:
            return import_module(f"{self.__name__}.{name}")
        raise AttributeError(f"errklein doesn't have {self._errbot_name}.{name}", name=name, obj=self)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._names})


def install(force: bool = False) -> None:
    """Let all code in the process import `errbot` and `flask` from errklein.

    Plugins don't need this; other libraries that import them do. What is really installed stays, unless `force`.
    """
    for name in FACADES:
        if force or not (name in sys.modules or find_spec(name) is not None):
            stand_in_for(name)


def stand_in_for(name: str) -> None:
    """Let all code in the process that imports the package of that name from now on get errklein's, installed or not."""
    ours = FACADES[name]
    for module in [known for known in sys.modules if known.startswith(name + ".")]:
        del sys.modules[module]
    sys.modules[name] = import_module(ours)
    if name == "errbot":
        for module in ERRBOT:
            sys.modules[module] = import_module(ours + module.removeprefix("errbot"))


def step_aside(name: str) -> None:
    """Stop providing the package of that name, if it is provided, so that later imports get the one that has been installed meanwhile."""
    if name in FACADES and sys.modules.get(name) is sys.modules.get(FACADES[name]):
        sys.modules.pop(name, None)


class _FacadeFinder(MetaPathFinder):
    """Finds the modules `errklein.compat.errbot` and below, and says in plain words which of errbot's there aren't."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        name = _errbot_name(fullname)
        if name is None:
            return None
        if name not in PROVIDED:
            # Named as errbot names it: the import system passes over an error about the very name that it looked for,
            # when that comes from `from errbot import name`, and would then say something less helpful.
            raise ModuleNotFoundError(f"errklein doesn't have {name}", name=name)
        file = str(PACKAGE_DIRECTORY / "__init__.py")
        loader = _FacadeLoader(fullname, file)
        if name == "errbot":
            places = [str(PACKAGE_DIRECTORY)]
            return spec_from_file_location(fullname, file, loader=loader, submodule_search_locations=places)
        # All are packages, so that the import system comes here for what they don't have.
        return ModuleSpec(fullname, loader, is_package=True)


class _FacadeLoader(SourceFileLoader):
    """Creates the modules, and reads the files of the package `errbot` for importlib.resources and pkgutil."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        name = _errbot_name(spec.name) or spec.name
        return FacadeModule(spec.name, name, PROVIDED[name])

    def exec_module(self, module: ModuleType) -> None:
        """Nothing is left to do: the names are found when they are asked for."""


def _errbot_name(fullname: str) -> str | None:
    """What errbot or Flask calls the module; None if `fullname` isn't one that errklein stands for."""
    if fullname == FACADES["flask"]:
        return "flask"
    if fullname == _ERRBOT_HERE or fullname.startswith(_ERRBOT_HERE + "."):
        return "errbot" + fullname.removeprefix(_ERRBOT_HERE)
    if fullname.startswith("errbot.") and isinstance(sys.modules.get("errbot"), FacadeModule):
        return fullname
    return None


sys.meta_path.append(_FacadeFinder())
