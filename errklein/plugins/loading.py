"""Loads plugins: files, requirements, modules, instances and templates; and compares files with the code that was loaded."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from errklein.config import Config
from errklein.plugins import imports
from errklein.plugins.botplugin import BotFlow, BotPlugin
from errklein.plugins.discovery import entry_point_roots, find_plug_files
from errklein.plugins.imports import CORE_PLUGINS, PluginLoadError
from errklein.plugins.methods import Finding, check_constructor, check_initialized, check_methods
from errklein.plugins.packages import FILE_NAME, PackageDirectory, above, requirement_files
from errklein.plugins.plug_file import PlugError, PlugFile, defines_storage
from errklein.plugins.plugin import (
    RAISED,
    IncompatiblePluginException,
    Plugin,
    PluginActivationException,
    PluginError,
    PluginExecution,
    PluginProblem,
    PluginTimeout,
    UnknownPlugin,
)
from errklein.running import Deadline, SerialQueue, TimedOut, result_within
from errklein.text.masking import masker

T = TypeVar("T")
Make = Callable[[type[Any], str], Any]  # creates an instance of a class of plugins or flows with that name
_Loaded = tuple[BotPlugin, str | None, list[Finding]]  # with a warning, and mistakes in methods
_TIMEOUT = 3.0  # seconds after which a comparison of files that has not ended is left out


class Loader:
    """Loads plugins, in threads. `unusable` are files without a plugin, with the reasons, `roots` the directories that
    were searched, and `mistakes` those of methods that can't be called, since the last `take_mistakes`."""

    log = Logger()

    def __init__(self, execution: PluginExecution, config: Config, make: Make, packages: PackageDirectory) -> None:
        self.plugins: dict[str, Plugin] = {}
        self.unusable: dict[Path, str] = {}
        self.mistakes: list[PluginProblem] = []
        self.roots: list[Path] = []
        self.make = make
        self._execution = execution
        self._config = config
        self.packages = packages
        # In one thread at a time, since a network drive may hang.
        self._comparisons = SerialQueue(execution.reactor)

    async def load_all(self, roots: Iterable[Path]) -> list[PluginProblem]:
        problems = await self.load([CORE_PLUGINS, *roots, *await self._in_thread(entry_point_roots)])
        # Packages that plugins require may contain plugins, too.
        while added := [root for root in await self._in_thread(entry_point_roots) if root.absolute() not in self.roots]:
            problems += await self.load(added)
        return problems

    async def load(self, roots: Iterable[Path]) -> list[PluginProblem]:
        roots = [root.absolute() for root in roots]
        self.roots += [root for root in roots if root not in self.roots]
        found = await self._in_thread(partial(find_plug_files, roots))
        problems = [PluginProblem(text, path=path) for path, text in found.unreadable.items()]
        known = [plugin.plug.path for plugin in self.plugins.values() if plugin.plug.path.suffix == ".plug"]
        directories = dict.fromkeys(path.parent for path in (*known, *found) if path.parent != CORE_PLUGINS)
        await self._in_thread(partial(imports.know_neighbours, directories))
        unmet: dict[Path, list[PluginProblem]] = {}
        for file in await self._in_thread(partial(requirement_files, roots, found.files)):
            unmet[file.parent] = await self._settle(file)
            problems += unmet[file.parent]
        deadline = self._execution.deadline()
        for path in found:
            self.unusable.pop(path, None)
            try:
                problems += await self._find(path, deadline)
            except Exception as error:
                if isinstance(error, PlugError):
                    self.unusable[path] = str(error)
                problems.append(PluginProblem(str(error), path=path))
            self._note_unmet(path, unmet)
        self.unusable.update(found.unreadable)
        return problems

    def _settle(self, file: Path) -> Deferred[list[PluginProblem]]:
        return self._in_thread(partial(self.packages.settle, file, self._config.AUTOINSTALL_DEPS))

    def take_mistakes(self) -> list[PluginProblem]:
        taken, self.mistakes = self.mistakes, []
        return taken

    def add_class(self, cls: type[BotPlugin]) -> None:
        """Add a plugin from a class, without a `.plug` file. It is named as the class."""
        path = Path(inspect.getfile(cls))
        plugin = self.plugins[cls.__name__] = Plugin(PlugFile(cls.__name__, path.stem, path))
        plugin.instance = self.make(cls, cls.__name__)

    async def load_again(self, plugin: Plugin) -> None:
        """Read the plugin's files again and create a new instance. If that fails, nothing changes."""
        try:
            plug = await self._in_thread(partial(PlugFile.load, plugin.plug.path))
        except PlugError as error:
            raise PluginActivationException(str(error)) from error
        if plug.name != plugin.name:
            renamed = f"{plug.path}: Name is now {plug.name}; restart the bot to rename {plugin.name}"
            raise PluginActivationException(renamed)
        if refusal := plug.refusal():
            raise IncompatiblePluginException(f"{plug.name} can't be used: {refusal} ({plug.path})")
        files = [directory / FILE_NAME for directory in above(plug.directory, self.roots)]
        unmet = {file.parent: await self._settle(file) for file in files if file.is_file()}
        await self._load(plugin, plug, self._execution.deadline(), fresh=True)
        self._note_unmet(plug.path, unmet)

    async def forget(self, plugin: Plugin) -> None:
        """Remove the plugin and its modules. Code that is running keeps them."""
        del self.plugins[plugin.name]
        await self._in_thread(partial(imports.unload, plugin.plug))

    def forget_below(self, directory: Path) -> None:
        for path in [path for path in self.unusable if path.is_relative_to(directory)]:
            del self.unusable[path]
        for plugin in self.plugins.values():
            plugin.duplicates = [path for path in plugin.duplicates if not path.is_relative_to(directory)]

    async def _find(self, path: Path, deadline: Deadline) -> list[PluginProblem]:
        plug = await self._in_thread(partial(PlugFile.load, path))
        chosen = self._config.CORE_PLUGINS
        # As on errbot, CORE_PLUGINS also selects from other plugins with `Core = True`.
        is_core = path.parent == CORE_PLUGINS or plug.core
        # Backends and storages lie beside plugins in some distributions.
        if plug.backend or (is_core and chosen is not None and plug.name not in chosen):
            return []
        if path.parent != CORE_PLUGINS and await self._in_thread(partial(defines_storage, plug)):
            return []
        if known := self.plugins.get(plug.name):
            if known.plug.path == path:
                return []
            if path not in known.duplicates:
                known.duplicates.append(path)
            exists = f"{path}: a plugin named {known.name} already exists, in {known.plug.path}"
            return [PluginProblem(f"{exists}; change Name in one of the files", path=path)]
        plugin = self.plugins[plug.name] = Plugin(plug)
        if refusal := plug.refusal():
            plugin.problem = f"{plug.name} can't be used: {refusal} ({path})"
            return [plugin.failure()]
        try:
            warning = await self._load(plugin, plug, deadline, fresh=False)
        except PluginActivationException:
            return [plugin.failure()]
        return [PluginProblem(warning, plugin.name, path)] if warning else []

    def _note_unmet(self, path: Path, unmet: Mapping[Path, Sequence[PluginProblem]]) -> None:
        plugin = next((plugin for plugin in self.plugins.values() if plugin.plug.path == path), None)
        if plugin is not None:
            above = [problems for directory, problems in unmet.items() if path.is_relative_to(directory)]
            its = [problem.text for problems in above for problem in problems]
            plugin.notes += [text for text in its if text not in plugin.notes]

    async def _load(self, plugin: Plugin, plug: PlugFile, deadline: Deadline, fresh: bool) -> str:
        """Create the instance. Return a warning or "". Raises PluginActivationException, also after the deadline."""
        try:
            loaded = await self._execution.load(plug, partial(self._instantiate, plug, fresh), deadline.left)
        except PluginLoadError as error:
            if plugin.instance is None:
                plugin.problem, plugin.source = str(error), error.source
            # Also what errklein has found, such as the parameters of a constructor, may contain a secret; a timeout doesn't.
            cause = error.__cause__ if isinstance(error.__cause__, PluginTimeout) else error
            raise PluginActivationException(str(error)) from cause
        instance, warning, mistakes = loaded
        for mistake in mistakes:
            if not mistake.is_error:
                self.log.warn("{text}", text=str(mistake))
        self.mistakes += [PluginProblem(str(mistake), plugin.name) for mistake in mistakes if mistake.is_error]
        instance.dependencies = list(plug.depends_on)
        plugin.plug = plug
        plugin.instance = instance
        plugin.problem = plugin.source = ""
        plugin.notes = [warning] if warning else []
        return warning or ""

    def _instantiate(self, plug: PlugFile, fresh: bool) -> _Loaded:
        # In one call, since switching threads takes longer than the work for most plugins.
        cls, warning = imports.plugin_class(imports.load_module(plug, fresh=fresh), BotPlugin, plug.name)
        if (mistake := check_constructor(cls)) is None:
            instance = self.make(cls, plug.name)
            mistake = check_initialized(instance)
        if mistake is not None:
            raise PluginLoadError(f"{plug.name} could not be loaded: {mistake}")
        # Tests check the core plugins; reading their source would make each start a third slower.
        mistakes = [] if plug.path.parent == CORE_PLUGINS else check_methods(instance)
        return instance, warning, mistakes

    async def changed_files(self, plugs: Sequence[PlugFile]) -> Mapping[str, FileChanges] | None:
        """Compare files with the running code. Return the changes by plugin; None if the disk doesn't respond within 3 seconds."""
        compare = partial(self._execution.in_thread, partial(_compare, plugs), "comparing plugins' files")
        try:
            return await result_within(self._execution.reactor, _TIMEOUT, self._comparisons.run(compare))
        except TimedOut:
            return None

    async def add_templates(self, plugin: Plugin) -> None:
        """Register the plugin's templates in place of its previous ones, and record the invalid ones."""
        self.remove_templates(plugin)
        if _has_templates(plugin):
            # Imported late: Jinja2 is slow to import, and few plugins have templates.
            from errklein.text import templating

            templating.add_templates(plugin.name, plugin.plug.directory)
            plugin.has_templates = True
            plugin.templates = await self.check_templates(plugin)

    def remove_templates(self, plugin: Plugin) -> None:
        if plugin.has_templates:
            from errklein.text import templating

            templating.remove_templates(plugin.name)
            plugin.has_templates = False
        plugin.templates = []

    async def check_templates(self, plugin: Plugin) -> list[str]:
        if not _has_templates(plugin):
            return []
        check = partial(broken_templates, plugin.plug.directory)
        return await self._execution.in_thread(check, f"checking the templates of {plugin.name}")

    def _in_thread(self, work: Callable[[], T]) -> Deferred[T]:
        return self._execution.in_thread(work, "looking for plugins")


def _has_templates(plugin: Plugin) -> bool:
    return (plugin.plug.directory / "templates").is_dir()


class FlowFiles:
    """The loaded collections of flows by name, active or not. Their code runs in a thread."""

    log = Logger()

    def __init__(self, execution: PluginExecution, make: Make) -> None:
        self.flows: dict[str, BotFlow] = {}
        self._files: dict[str, PlugFile] = {}
        self._execution = execution
        self._make = make

    async def load(self, roots: Iterable[Path], activate: bool = True) -> list[PluginProblem]:
        found = await self._execution.in_thread(partial(find_plug_files, list(roots), suffix=".flow"), "loading flows")
        problems: list[PluginProblem] = []
        deadline = self._execution.deadline()
        for path in found:
            try:
                problem = await self._find(path, activate, deadline)
            except Exception as error:
                summary = "The flows in a file don't work"
                problem = PluginProblem(str(error), path=path, source=getattr(error, "source", ""), summary=summary)
            if problem is not None:
                problems.append(problem)
        return problems

    async def change(self, name: str, active: bool, within: float | None = None) -> None:
        """Activate the flows, or deactivate them and end those in progress. Raises PluginTimeout if the method doesn't
        return within `within` seconds: `activate` continues then, and after `deactivate` the flows are inactive."""
        if name not in self.flows:
            raise UnknownPlugin(f"Unknown flows: {name}. Valid names: {', '.join(sorted(self.flows)) or 'none'}.")
        flows, method = self.flows[name], "activate" if active else "deactivate"
        if flows.is_activated is active:
            raise PluginError(f"{name} is already {method}d.")
        then = "It continues in the background." if active else "The flows have been removed nevertheless."
        try:
            running = self._execution.run(getattr(flows, method))
            await self._execution.in_time(running, f"{name}.{method}", within, then)
        except RAISED as error:
            is_late = isinstance(error, PluginTimeout)
            if not (active and is_late):
                BotFlow.deactivate(flows)
            if is_late:
                raise
            self.log.failure("The flows {name} raised an exception in {method}", name=name, method=method)
            if active:
                raise PluginError(f"The flows {name} could not be activated: {masker(str(error))}") from error
        if not active:
            flows.is_activated = False

    async def remove_below(self, directory: Path) -> None:
        for name, file in list(self._files.items()):
            if file.path.is_relative_to(directory):
                await self._deactivate_quietly(name)
                del self.flows[name], self._files[name]
                await self._execution.in_thread(partial(imports.unload, file), "loading flows")

    async def stop(self, within: float) -> None:
        deadline = Deadline(self._execution.reactor, within)
        for name in self.flows:
            await self._deactivate_quietly(name, deadline.left)

    async def _deactivate_quietly(self, name: str, within: float | None = None) -> None:
        if self.flows[name].is_activated:
            try:
                await self.change(name, False, within)
            except PluginTimeout as error:
                self.log.warn("{error}", error=str(error))

    async def _find(self, path: Path, activate: bool, deadline: Deadline) -> PluginProblem | None:
        file = await self._execution.in_thread(partial(PlugFile.load, path), "loading flows")
        if known := self._files.get(file.name):
            exists = PluginProblem(f"{path}: there are already flows named {file.name}, in {known.path}", path=path)
            return None if known.path == path else exists
        if refusal := file.refusal():
            return PluginProblem(f"{file.name} can't be used: {refusal} ({path})", path=path)
        flows, warning = await self._execution.load(file, partial(self._load, file), deadline.left)
        self.flows[file.name] = flows
        self._files[file.name] = file
        if activate:
            await self.change(file.name, True, deadline.left)
        return PluginProblem(warning, path=path) if warning else None

    def _load(self, file: PlugFile) -> tuple[BotFlow, str | None]:
        cls, warning = imports.plugin_class(imports.load_module(file, fresh=True), BotFlow)
        return self._make(cls, file.name), warning


@dataclass
class FileChanges:
    """The names of a plugin's files that were changed or removed after they were loaded; "" for people who may not read them."""

    changed: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)

    def remarks(self, reload: str) -> Iterator[str]:
        """Yield a line for each kind of change. `reload` is the command to apply changes."""
        if self.changed:
            yield f"{_subject(self.changed)} changed after loading: {reload}"
        if self.removed:
            verb = "was" if len(self.removed) == 1 else "were"
            yield f"{_subject(self.removed)} {verb} removed after loading"


def _compare(plugs: Sequence[PlugFile]) -> dict[str, FileChanges]:
    names = {imports.package_of(plug): plug.name for plug in plugs}
    found: dict[str, FileChanges] = {}
    for module, loaded in sorted(sys.modules.copy().items()):
        name = names.get(".".join(module.split(".", 2)[:2]))
        loader = getattr(getattr(loaded, "__spec__", None), "loader", None)
        if name is None or not isinstance(loader, imports.PluginLoader):
            continue
        try:
            if loader.has_changed():
                found.setdefault(name, FileChanges()).changed.append(Path(loader.path).name)
        except (FileNotFoundError, NotADirectoryError):
            found.setdefault(name, FileChanges()).removed.append(Path(loader.path).name)
    return found


def _subject(names: list[str]) -> str:
    return ", ".join(names) if all(names) else "a file" if len(names) == 1 else "files"


def broken_templates(directory: Path) -> list[str]:
    """Return a line with file, line and error for each invalid template beside the `.plug` files of a directory."""
    from jinja2 import TemplateSyntaxError

    from errklein.text.templating import SUFFIX, make_templates_path, tenv

    problems = []
    for path in sorted(make_templates_path(directory).rglob(f"*{SUFFIX}")):
        try:
            tenv().compile(path.read_text(encoding="utf-8"), path.name, str(path))
        except TemplateSyntaxError as error:
            problems.append(f"{path}, line {error.lineno}: invalid template: {error.message}")
        except (OSError, UnicodeDecodeError) as error:
            problems.append(f"{path}: the template can't be read: {error}")
    return problems
