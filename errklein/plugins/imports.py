"""Loads the Python code of plugins, each plugin's modules apart from all others.

A plugin's modules live in a package of its own, `errklein_plugins.<slug of the plugin's name>`, which has no `__init__.py`; they
are found beside the `.plug` file. Their names follow from the plugin's name alone, since stored objects remember them.

What `import helper` means in a plugin is decided when the module that says it is compiled:

- the standard library's modules are always themselves, as in errbot, where a plugin's directory comes last;
- packages that errklein provides are errklein's own modules, installed or not (`provide`: `errbot` and `flask`);
- else a file or package beside the `.plug` file comes first. errbot takes what is installed, so that a plugin with a
  `utils.py` breaks when any distribution brings a `utils` too. But a plugin `jira.py` that says `import jira`, and a
  directory without `__init__.py`, mean what is installed;
- what is nowhere else may lie beside another plugin (`know_neighbours`); each plugin that imports it has a module of its own;
- everything else is what it is for all other code.

In tests a file beside the plugin may have been imported by its bare name before, so that something in it can be patched;
with `share_with_tests` there is one module for both, as on errbot.

`importlib.import_module("helper")` and `__import__("helper")` in a plugin's code lead to the same; see `dynamic_imports`.
"""

from __future__ import annotations

import ast
import importlib
import importlib.machinery as machinery
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import FileFinder, ModuleSpec, SourceFileLoader
from importlib.util import find_spec, module_from_spec, source_hash
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, TypeVar

from errklein.plugins._import_rewriting import rewrite_imports
from errklein.plugins.load_errors import PluginLoadError
from errklein.plugins.names import slug
from errklein.plugins.plug_file import PlugFile

B = TypeVar("B")

PACKAGE = "errklein_plugins"

_NEVER_BESIDE = frozenset(sys.stdlib_module_names) | {"errklein", PACKAGE}

_CORE_PLUGINS = Path(__file__).parent.parent / "core_plugins"

# One load or unload at a time; it may wait for as long as a plugin's import takes.
_lock = threading.RLock()


def load_module(plug: PlugFile, *, fresh: bool = False) -> ModuleType:
    """The plugin's module, executed if it isn't there yet; `fresh` executes it and its helper modules again.

    May block, and may be called in any thread. Raises PluginLoadError, whatever the code raises, SystemExit included;
    what was loaded before is then still in place.
    """
    home = _Home(package_of(plug), plug.directory, plug.module)
    with _lock:
        loaded = sys.modules.get(home.main)
        if not fresh and loaded is not None and _finder.homes.get(home.package) == home:
            return loaded
        return _execute(plug, home)


def plugin_class(module: ModuleType, base: type[B], named: str = "") -> tuple[type[B], str | None]:
    """The subclass of `base` that the module is there for, and a warning if there was more than one to choose from.

    It is the one called `named`, since several `.plug` files may share a module, else the first by name that the module
    defines, else imports. Raises PluginLoadError if there is none.
    """
    found = {
        name: value
        for name, value in sorted(vars(module).items())
        if isinstance(value, type) and issubclass(value, base) and value is not base
    }
    own = {name: value for name, value in found.items() if value.__module__ == module.__name__}
    # A class may have two names.
    candidates = list(dict.fromkeys((own or found).values()))
    if not candidates:
        raise PluginLoadError(f"{module.__file__}: there is no subclass of {base.__name__} in it")
    chosen = candidates[0]
    if len(candidates) == 1:
        return chosen, None
    for candidate in candidates:
        if candidate.__name__ == named:
            return candidate, None
    names = ", ".join(candidate.__name__ for candidate in candidates)
    return chosen, f"{module.__file__}: Contains more than one plugin ({names}); {chosen.__name__} is used"


def package_of(plug: PlugFile) -> str:
    """The full name of the package that the modules of the plugin, or of the collection of flows, live in."""
    # No slug ends so: flows may be named as the plugin that they belong to.
    mark = "_flow" if plug.path.suffix == ".flow" else ""
    return f"{PACKAGE}.{slug(plug.name)}{mark}"


def meant_by(importer: str, name: str) -> str:
    """The full name of what the module `importer`, if it is a plugin's, means by the absolute `name` of a module."""
    home = _finder.home_of(importer)
    top, dot, rest = name.partition(".")
    return name if home is None or not top else (home.redirect(importer, top) or top) + dot + rest


def import_by_name(
    name: str,
    globals: Mapping[str, Any] | None = None,
    locals: Mapping[str, Any] | None = None,
    fromlist: Sequence[str] | None = (),
    level: int = 0,
) -> ModuleType:
    """As `__import__`, for the plugin that calls it."""
    meant = name if level else meant_by(sys._getframe(1).f_globals.get("__name__", ""), name)
    module = __import__(meant, globals, locals, fromlist or (), level)
    if meant == name or fromlist:
        return module
    # What is returned for "helper.part" is `helper`.
    return sys.modules[meant.removesuffix(name) + name.partition(".")[0]]


def unload(plug: PlugFile) -> None:
    """Forget the plugin's modules. Code of it that still runs keeps what it has."""
    package = package_of(plug)
    with _lock:
        _finder.homes.pop(package, None)
        module = sys.modules.get(f"{package}.{plug.module}")
        if module is not None:
            _finder.unloaded(plug.module, module)
        _put(package, {})


def changed_files(plug: PlugFile) -> list[Path]:
    """Return the files of the plugin's loaded modules that were changed or removed since they were loaded."""
    loaders = [getattr(module.__spec__, "loader", None) for module in _modules_in(package_of(plug)).values()]
    return sorted(Path(one.path) for one in loaders if isinstance(one, _PluginLoader) and one.source_has_changed())


def know_neighbours(directories: Iterable[Path]) -> None:
    """Let plugins import what lies in these directories, and nowhere else; the first of two of one name wins."""
    neighbours: dict[str, str] = {}
    for directory in directories:
        with suppress(OSError):
            for entry in sorted(directory.iterdir()):
                if entry.suffix in machinery.SOURCE_SUFFIXES or (entry / "__init__.py").is_file():
                    neighbours.setdefault(entry.stem, str(directory))
    _finder.neighbours = neighbours


def provide(
    packages: Mapping[str, str], loaded: Callable[[str, ModuleType], None], unloaded: Callable[[str, ModuleType], None]
) -> None:
    """Give plugins other packages for these names; `loaded` and `unloaded` get a plugin module's name and the module."""
    _finder.provided, _finder.loaded, _finder.unloaded = packages, loaded, unloaded


def share_with_tests() -> None:
    """Let plugins import modules that tests have imported from beside them, never reloaded; nests with `unshare`."""
    _finder.shares += 1


def unshare() -> None:
    """End what one `share_with_tests` began."""
    _finder.shares -= 1


def _execute(plug: PlugFile, home: _Home) -> ModuleType:
    home_before = _finder.homes.get(home.package)
    before = _modules_in(home.package)
    _finder.homes[home.package] = home
    _put(home.package, {home.package: module_from_spec(home.spec)})
    try:
        module = importlib.import_module(home.main)
        _finder.loaded(home.module, module)
        return module
    except BaseException as error:
        if home_before is None:
            del _finder.homes[home.package]
        else:
            _finder.homes[home.package] = home_before
        _put(home.package, before)
        if isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread():
            # Somebody at the keyboard, not the plugin.
            raise
        raise PluginLoadError.of(plug, home.package, error) from error


def _modules_in(package: str) -> dict[str, ModuleType]:
    """A plugin's package and all modules in it."""
    modules = sys.modules.copy().items()
    return {name: module for name, module in modules if name == package or name.startswith(package + ".")}


def _put(package: str, modules: dict[str, ModuleType]) -> None:
    """Let these be the package and the modules in it, and no others."""
    sys.modules.update(modules)
    for name in _modules_in(package).keys() - modules:
        sys.modules.pop(name, None)
    # Import statements look at the attributes of the package's own package first.
    parent = importlib.import_module(PACKAGE)
    name = package.removeprefix(f"{PACKAGE}.")
    if package in modules:
        setattr(parent, name, modules[package])
    else:
        vars(parent).pop(name, None)


@dataclass(frozen=True)
class _Home:
    """Where a plugin's modules are: the package's name, the directory, and which of them is the plugin itself."""

    package: str
    directory: Path
    module: str

    @property
    def main(self) -> str:
        return f"{self.package}.{self.module}"

    @property
    def spec(self) -> ModuleSpec:
        return _directories(self.package, [str(self.directory)], _PluginPackageLoader())

    def redirect(self, importer: str, name: str) -> str | None:
        """What the top-level name `name` leads to in the module `importer`; None if nowhere else than usual."""
        if name in _finder.provided:
            return _finder.provided[name]
        if name in _NEVER_BESIDE:
            return None
        target = f"{self.package}.{name}"
        beside = _find_file(target, [str(self.directory)])
        if beside is None:
            neighbour = _finder.neighbour(target)
            return target if neighbour is not None and not _is_installed(name, neighbour) else None
        if _finder.shares and target != self.main and _is_shared(name, beside):
            return None
        is_file = beside.submodule_search_locations is None
        is_unlikely = beside.loader is None or target == self.main or (target == importer and is_file)
        return None if is_unlikely and _is_installed(name, beside) else target


class _Package(ModuleType):
    """A plugin's package. Modules that it doesn't have yet are imported when they are asked for.

    While a plugin is reloaded, an import statement in a handler may have seen the old package and ask the new one.
    """

    def __getattr__(self, name: str) -> Any:
        fullname = f"{self.__name__}.{name}"
        if not name.startswith("__"):
            try:
                return importlib.import_module(fullname)
            except ModuleNotFoundError as error:
                if error.name != fullname:
                    raise
        raise AttributeError(f"there is no {fullname}", name=name, obj=self)


class _PluginPackageLoader(Loader):
    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Package(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """A package has no code."""


class _PluginLoader(SourceFileLoader):
    """Compiles a plugin's module always, since bytecode files hold what other code compiled; not so for core plugins."""

    _loaded_hash: bytes | None = None

    def get_code(self, fullname: str) -> CodeType | None:
        path = self.get_filename(fullname)
        if Path(path).parent == _CORE_PLUGINS:
            return super().get_code(fullname)
        data = self.get_data(path)
        self._loaded_hash = source_hash(data)
        return self.source_to_code(data, path)

    def source_has_changed(self) -> bool:
        """Return whether the file differs from the source that was loaded, or can't be read any more."""
        if self._loaded_hash is None:
            return False
        try:
            return source_hash(self.get_data(self.path)) != self._loaded_hash
        except OSError:
            return True

    def exec_module(self, module: ModuleType) -> None:
        vars(module)["__import__"] = import_by_name
        super().exec_module(module)

    def source_to_code(self, data: Any, path: Any, *, _optimize: int = -1) -> CodeType:  # type: ignore[override]
        home = _finder.home_of(self.name)
        tree = ast.parse(data, path)
        if home is not None and home.directory != _CORE_PLUGINS:
            beside = home
            rewrite_imports(tree, cache(lambda name: beside.redirect(self.name, name)))
        code: CodeType = compile(tree, path, "exec", dont_inherit=True, optimize=_optimize)
        return code


class _PluginFinder(MetaPathFinder):
    """Finds the packages of loaded plugins and the modules in them, by their full names, and no others."""

    def __init__(self) -> None:
        self.homes: dict[str, _Home] = {}
        self.shares = 0
        self.neighbours: dict[str, str] = {}
        self.provided: Mapping[str, str] = {}
        self.loaded: Callable[[str, ModuleType], None] = lambda name, module: None
        self.unloaded: Callable[[str, ModuleType], None] = lambda name, module: None

    def home_of(self, fullname: str) -> _Home | None:
        return self.homes.get(".".join(fullname.split(".", 2)[:2]))

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == PACKAGE:
            return _directories(fullname, [], _PluginPackageLoader())
        home = self.home_of(fullname)
        if home is None:
            return None
        if fullname == home.package:
            return home.spec
        found = _find_file(fullname, path or ())
        # The plugin's own file isn't another plugin's, though it has gone.
        return self.neighbour(fullname) if found is None and fullname != home.main else found

    def neighbour(self, fullname: str) -> ModuleSpec | None:
        """The module of that name that lies beside another plugin, if the name is that of one right in a plugin's package."""
        package, _, name = fullname.rpartition(".")
        directory = self.neighbours.get(name) if package in self.homes else None
        return None if directory is None else _find_file(fullname, [directory])


_LOADERS = (
    (machinery.ExtensionFileLoader, machinery.EXTENSION_SUFFIXES),
    (_PluginLoader, machinery.SOURCE_SUFFIXES),
    (machinery.SourcelessFileLoader, machinery.BYTECODE_SUFFIXES),
)
_finder = _PluginFinder()
# In front, for the ordinary finder would find the files too, but not change their imports.
sys.meta_path.insert(0, _finder)


def _find_file(fullname: str, path: Iterable[str]) -> ModuleSpec | None:
    """The module of that name in one of the directories, read from disk anew; see importlib's FileFinder."""
    portions: list[str] = []
    for directory in path:
        found = FileFinder(directory, *_LOADERS).find_spec(fullname)
        if found is not None and found.loader is not None:
            return found
        if found is not None:
            portions.extend(found.submodule_search_locations or ())
    return _directories(fullname, portions) if portions else None


def _directories(fullname: str, path: list[str], loader: Loader | None = None) -> ModuleSpec:
    """A package that is nothing but directories to search."""
    spec = ModuleSpec(fullname, loader, is_package=True)
    spec.submodule_search_locations = path
    return spec


def _is_shared(name: str, beside: ModuleSpec) -> bool:
    """Whether the very file is imported by its bare name already."""
    module = sys.modules.get(name)
    return module is not None and beside.origin is not None and getattr(module, "__file__", None) == beside.origin


def _is_installed(name: str, beside: ModuleSpec) -> bool:
    """Whether `name` is a module for everybody, and another one than the one beside the plugin."""
    module = sys.modules.get(name)
    if module is not None:
        return getattr(module, "__file__", None) != beside.origin
    spec = find_spec(name)
    return spec is not None and spec.loader is not None and spec.origin != beside.origin
