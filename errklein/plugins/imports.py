"""Loads the modules of plugins, separately for each, as `errklein_plugins.<slug of its name>.<module>`, and describes errors of
their code. The meaning of `import helper` is decided when the importing module is compiled: docs/design.md, "Modules of plugins",
has the rules. `importlib.import_module` and `__import__` follow them, too; see `_dynamic_imports`."""

from __future__ import annotations

import ast
import importlib
import importlib.machinery as machinery
import re
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from importlib.abc import MetaPathFinder
from importlib.machinery import FileFinder, ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import find_spec, module_from_spec, source_hash
from pathlib import Path
from traceback import format_exception_only
from types import CodeType, ModuleType
from typing import Any, NoReturn, TypeVar

from errklein.plugins.plug_file import PACKAGE, PlugFile, slug
from errklein.text import truncated
from errklein.text.errors import explained_source, line_in
from errklein.text.masking import masker

B = TypeVar("B")
_LONGEST = 500  # the characters of an error
_PACKAGE = re.compile(rf"\b{PACKAGE}\.\w+\.")  # the name of the package that contains a plugin's modules
_PATCHING = {"gevent.monkey": "patch_", "eventlet.patcher": "monkey_patch"}  # the beginning of the functions that patch

IMPORTLIB = "errklein.plugins._dynamic_imports"
"""The module that replaces `importlib`, so that `importlib.import_module` is redirected too."""

Redirect = Callable[[str], str | None]
"""Returns the full name that replaces the name of a top-level module; None if the name stays as it is."""

_NEVER_BESIDE = frozenset(sys.stdlib_module_names) | {"errklein", PACKAGE}
CORE_PLUGINS = Path(__file__).parent.parent / "core_plugins"

# Held during a load or unload, so another one may wait as long as a plugin's import takes.
_lock = threading.RLock()


class PluginLoadError(Exception):
    """A plugin's code can't be loaded. The text is one line with the plugin, the file and line, and the error. `source`
    is the line of the source, and a remedy if it is known, each on a line; "" if the source can't be read."""

    source = ""

    @classmethod
    def of(cls, plug: PlugFile, error: BaseException) -> PluginLoadError:
        made = cls(f"{plug.name} could not be loaded: {located_error(plug, error)}")
        path, line = line_in(plug.directory, error) or (plug.module_path, None)
        made.source = explained_source(path, line, error)
        return made


def located_error(plug: PlugFile, error: BaseException) -> str:
    """Return the error with its place, such as `/srv/plugins/hello.py, line 7: ZeroDivisionError: division by zero`."""
    return f"{error_place(plug, error)}: {described_error(error)}"


def error_place(plug: PlugFile, error: BaseException) -> str:
    """Return the file and line of the plugin's own code, for example `/srv/plugins/hello.py, line 7`."""
    path, line = line_in(plug.directory, error) or (plug.module_path, None)
    return str(path) if line is None else f"{path}, line {line}"


def described_error(error: BaseException) -> str:
    """Return the exception's type and text on one line, with secrets masked."""
    if isinstance(error, SyntaxError):
        text = f"{type(error).__name__}: {error.msg}"
    else:
        text = format_exception_only(error)[0]
        # The modules of errklein's own exceptions are of no use to operators, and some are private.
        if type(error).__module__.startswith("errklein."):
            text = text.removeprefix(f"{type(error).__module__}.")
    # The text may contain the body of a request. Without the package, modules have the names that the plugin's author knows.
    text = _PACKAGE.sub("", masker.part(text, 0, 10 * _LONGEST))
    return truncated(" ".join(text.split()), _LONGEST)


class MonkeyPatchesRefused(RuntimeError):
    """A plugin applies monkey patches that would stop the bot."""


class _MonkeyPatchFinder(MetaPathFinder):
    """Lets the functions that apply monkey patches raise MonkeyPatchesRefused, in modules that are imported from now on."""

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: Any = None) -> ModuleSpec | None:
        if fullname not in _PATCHING:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            loader: Any = spec.loader
            execute = loader.exec_module

            def execute_and_replace(module: ModuleType) -> None:
                execute(module)
                for name, value in list(vars(module).items()):
                    if name.startswith(_PATCHING[fullname]) and callable(value):
                        setattr(module, name, partial(_refuse, f"{fullname}.{name}"))

            loader.exec_module = execute_and_replace
        return spec


def _refuse(function: str, *args: Any, **kwargs: Any) -> NoReturn:
    remedy = "Remove the call: blocking handlers run in threads anyway"
    raise MonkeyPatchesRefused(f"{function}() would replace the threads and sockets of the whole bot. {remedy}")


def rewrite_imports(tree: ast.Module, redirect: Redirect) -> None:
    """Redirect all absolute imports, including those in functions and conditions."""
    # Not recursive, since deeply nested code that compiles would exceed the recursion limit.
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        for name in ("body", "orelse", "finalbody", "handlers", "cases"):
            children = getattr(node, name, None)
            if isinstance(children, list):
                children[:] = [new for child in children for new in _rewritten(child, redirect)]
                waiting.extend(children)


def _rewritten(node: ast.AST, redirect: Redirect) -> Iterator[ast.AST]:
    """Yield the nodes that replace `node`: the node itself unless it is an import."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            for new in _imports(alias, redirect):
                yield ast.copy_location(ast.Import([ast.copy_location(new, alias)]), node)
        return
    if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module is not None:
        node.module = IMPORTLIB if node.module == "importlib" else _target(node.module, redirect)
    yield node


def _imports(alias: ast.alias, redirect: Redirect) -> Iterator[ast.alias]:
    top = alias.name.partition(".")[0]
    new_top = redirect(top)
    if top == "importlib":
        # Submodules are importlib's own; the replacement has them as attributes.
        if alias.name != top:
            yield alias
        if alias.name == top or alias.asname is None:
            yield ast.alias(IMPORTLIB, alias.asname or top)
    elif new_top is None:
        yield alias
    elif alias.asname is not None:
        yield ast.alias(_target(alias.name, redirect), alias.asname)
    else:
        # `import helper.part` imports both and binds `helper`. Here the first statement binds `helper` to the part, and
        # the second rebinds it to the package. If the part can't be imported, nothing is bound.
        if alias.name != top:
            yield ast.alias(_target(alias.name, redirect), top)
        yield ast.alias(new_top, top)


def _target(name: str, redirect: Redirect) -> str:
    top, dot, rest = name.partition(".")
    return (redirect(top) or top) + dot + rest


def load_module(plug: PlugFile, *, fresh: bool = False) -> ModuleType:
    """Return the plugin's module, executed if it isn't loaded yet; `fresh` executes it and its helper modules again. For any
    thread. Raises PluginLoadError for every exception, also SystemExit; the modules from before stay in place."""
    home = _Home(package_of(plug), plug.directory, plug.module)
    with _lock:
        loaded = sys.modules.get(home.main)
        if not fresh and loaded is not None and _finder.homes.get(home.package) == home:
            return loaded
        return _execute(plug, home)


def plugin_class(module: ModuleType, base: type[B], named: str = "") -> tuple[type[B], str | None]:
    """Return the subclass of `base` in the module, and a warning if there are several: the one named `named`, since `.plug` files
    may share a module, else the first that it defines, or else imports. Raises PluginLoadError without any."""
    found = subclasses_in(module, base)
    own = {name: value for name, value in found.items() if value.__module__ == module.__name__}
    # A class may have two names.
    candidates = list(dict.fromkeys((own or found).values()))
    if not candidates:
        classes = [one for one in vars(module).values() if isinstance(one, type) and one.__module__ == module.__name__]
        first = [one.__name__ for one in classes[:1]]
        hints = [f"; write `class {name}({base.__name__}):` instead of `class {name}`" for name in first]
        raise PluginLoadError(f"{module.__file__}: no subclass of {base.__name__} found{''.join(hints)}")
    chosen = next((candidate for candidate in candidates if candidate.__name__ == named), candidates[0])
    if len(candidates) == 1 or chosen.__name__ == named:
        return chosen, None
    names = ", ".join(candidate.__name__ for candidate in candidates)
    return chosen, f"{module.__file__}: Contains more than one plugin ({names}); {chosen.__name__} is used"


def subclasses_in(module: ModuleType, base: type[B]) -> dict[str, type[B]]:
    """Return the subclasses of `base` in the module, by name, sorted."""
    classes = {name: value for name, value in sorted(vars(module).items()) if isinstance(value, type)}
    return {name: cls for name, cls in classes.items() if issubclass(cls, base) and cls is not base}


def package_of(plug: PlugFile) -> str:
    """Return the full name of the package that contains the modules of a plugin or collection of flows."""
    # No slug ends like this, so flows may have the name of their plugin.
    mark = "_flow" if plug.path.suffix == ".flow" else ""
    return f"{PACKAGE}.{slug(plug.name)}{mark}"


def meant_by(importer: str, name: str) -> str:
    """Return the full name for an absolute import of `name` in the module `importer`."""
    home = _finder.home_of(importer)
    top, dot, rest = name.partition(".")
    return name if home is None or not top else (home.redirect(importer, top) or top) + dot + rest


def import_by_name(
    name: str, globals: Any = None, locals: Any = None, fromlist: Sequence[str] | None = (), level: int = 0
) -> ModuleType:
    """Import a module like `__import__`, for the plugin whose code calls it."""
    meant = name if level else meant_by(sys._getframe(1).f_globals.get("__name__", ""), name)
    module = __import__(meant, globals, locals, fromlist or (), level)
    if meant == name or fromlist:
        return module
    # As in `__import__`, the result for "helper.part" is `helper`.
    return sys.modules[meant.removesuffix(name) + name.partition(".")[0]]


def unload(plug: PlugFile) -> None:
    """Forget the plugin's modules. Code that is running keeps them."""
    package = package_of(plug)
    with _lock:
        _finder.homes.pop(package, None)
        if (module := sys.modules.get(f"{package}.{plug.module}")) is not None:
            _finder.unloaded(plug.module, module)
        _put(package, {})


def know_neighbours(directories: Iterable[Path]) -> None:
    """Let plugins import modules from these directories if they are found nowhere else; the first of a name wins."""
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
    """Redirect imports of these packages in plugins. `loaded` and `unloaded` get the name and module of each plugin module."""
    _finder.provided, _finder.loaded, _finder.unloaded = packages, loaded, unloaded


def share_with_tests(more: int = 1) -> None:
    """Let plugins use modules that tests have imported from beside them; -1 undoes one call."""
    _finder.shares += more


def _execute(plug: PlugFile, home: _Home) -> ModuleType:
    home_before = _finder.homes.get(home.package)
    before = _modules_in(home.package)
    _finder.homes[home.package] = home
    package = module_from_spec(home.spec)
    # During a reload, an import statement in a running handler may look for a module in the new package.
    vars(package)["__getattr__"] = partial(_submodule, home.package)
    _put(home.package, {home.package: package})
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
            # Ctrl-C, not an exception of the plugin.
            raise
        raise PluginLoadError.of(plug, error) from error


def _submodule(package: str, name: str) -> ModuleType:
    fullname = f"{package}.{name}"
    if not name.startswith("__"):
        try:
            return importlib.import_module(fullname)
        except ModuleNotFoundError as error:
            if error.name != fullname:
                raise
    raise AttributeError(f"no module named {fullname}", name=name)


def _modules_in(package: str) -> dict[str, ModuleType]:
    prefix = f"{package}."
    return {name: one for name, one in sys.modules.copy().items() if name == package or name.startswith(prefix)}


def _put(package: str, modules: dict[str, ModuleType]) -> None:
    """Make these the package and its only modules."""
    sys.modules.update(modules)
    for name in _modules_in(package).keys() - modules:
        sys.modules.pop(name, None)
    # Import statements read the attribute of the parent package first.
    parent = importlib.import_module(PACKAGE)
    name = package.removeprefix(f"{PACKAGE}.")
    if package in modules:
        setattr(parent, name, modules[package])
    else:
        vars(parent).pop(name, None)


@dataclass(frozen=True)
class _Home:
    """The package and directory of a plugin's modules. `module` is the plugin's own module."""

    package: str
    directory: Path
    module: str

    @property
    def main(self) -> str:
        return f"{self.package}.{self.module}"

    @property
    def spec(self) -> ModuleSpec:
        return _directories(self.package, [str(self.directory)])

    def redirect(self, importer: str, name: str) -> str | None:
        """Return the full name for an import of the top-level `name` in the module `importer`; None if unchanged."""
        if name in _finder.provided:
            return _finder.provided[name]
        if name in _NEVER_BESIDE:
            return None
        target = f"{self.package}.{name}"
        if (beside := _find_file(target, [str(self.directory)])) is None:
            neighbour = _finder.neighbour(target)
            return target if neighbour is not None and not _is_installed(name, neighbour) else None
        # The same file may already be imported under its bare name.
        is_shared = beside.origin is not None and getattr(sys.modules.get(name), "__file__", None) == beside.origin
        if _finder.shares and target != self.main and is_shared:
            return None
        is_file = beside.submodule_search_locations is None
        is_unlikely = beside.loader is None or target == self.main or (target == importer and is_file)
        return None if is_unlikely and _is_installed(name, beside) else target


class PluginLoader(SourceFileLoader):
    """Compiles a plugin's module at each load, since bytecode files lack redirected imports. Core plugins use them."""

    _loaded: bytes | None = None  # the hash of the source that was loaded; None for a core plugin

    def get_code(self, fullname: str) -> CodeType | None:
        path = self.get_filename(fullname)
        if Path(path).parent == CORE_PLUGINS:
            return super().get_code(fullname)
        data = self.get_data(path)
        self._loaded = source_hash(data)
        return self.source_to_code(data, path)

    def has_changed(self) -> bool:
        """Return whether the file differs from the source that was loaded. Blocks on the disk. Raises FileNotFoundError
        or NotADirectoryError if the file was removed. An unreadable file counts as changed."""
        try:
            return self._loaded is not None and source_hash(self.get_data(self.path)) != self._loaded
        except (FileNotFoundError, NotADirectoryError):
            raise
        except OSError:
            return True

    def exec_module(self, module: ModuleType) -> None:
        """Run the code, for which `__import__` follows the rules, too."""
        vars(module)["__import__"] = import_by_name
        super().exec_module(module)

    def source_to_code(self, data: Any, path: Any, *, _optimize: int = -1) -> CodeType:  # type: ignore[override]
        home = _finder.home_of(self.name)
        tree = ast.parse(data, path)
        if home is not None and home.directory != CORE_PLUGINS:
            beside = home
            rewrite_imports(tree, cache(lambda name: beside.redirect(self.name, name)))
        code: CodeType = compile(tree, path, "exec", dont_inherit=True, optimize=_optimize)
        return code


class _PluginFinder(MetaPathFinder):
    """Finds the packages of loaded plugins and their modules by full name, and nothing else."""

    def __init__(self) -> None:
        self.homes: dict[str, _Home] = {}
        self.shares = 0
        self.neighbours: dict[str, str] = {}
        self.provided: Mapping[str, str] = {}
        self.loaded: Callable[[str, ModuleType], None] = lambda name, module: None
        self.unloaded: Callable[[str, ModuleType], None] = lambda name, module: None

    def home_of(self, fullname: str) -> _Home | None:
        return self.homes.get(".".join(fullname.split(".", 2)[:2]))

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: Any = None) -> ModuleSpec | None:
        if fullname == PACKAGE:
            return _directories(fullname, [])
        if (home := self.home_of(fullname)) is None:
            return None
        if fullname == home.package:
            return home.spec
        found = _find_file(fullname, path or ())
        # If the plugin's own file is gone, another plugin's file of that name doesn't replace it.
        return self.neighbour(fullname) if found is None and fullname != home.main else found

    def neighbour(self, fullname: str) -> ModuleSpec | None:
        """Return the spec of a module beside another plugin, for a name in a plugin's package, or None."""
        package, _, name = fullname.rpartition(".")
        directory = self.neighbours.get(name) if package in self.homes else None
        return None if directory is None else _find_file(fullname, [directory])


_LOADERS = (
    (machinery.ExtensionFileLoader, machinery.EXTENSION_SUFFIXES),
    (PluginLoader, machinery.SOURCE_SUFFIXES),
    (machinery.SourcelessFileLoader, machinery.BYTECODE_SUFFIXES),
)
_finder = _PluginFinder()
# First, since the standard finder would find the files too, without redirecting their imports.
sys.meta_path[:0] = [_MonkeyPatchFinder(), _finder]


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


def _directories(fullname: str, path: list[str]) -> ModuleSpec:
    """Return the spec of a package that consists only of directories to search."""
    spec = ModuleSpec(fullname, None, is_package=True)
    spec.submodule_search_locations = path
    return spec


def _is_installed(name: str, beside: ModuleSpec) -> bool:
    """Return whether `name` is a module outside of plugins, and a different file."""
    if (module := sys.modules.get(name)) is not None:
        return getattr(module, "__file__", None) != beside.origin
    spec = find_spec(name)
    return spec is not None and spec.loader is not None and spec.origin != beside.origin
