"""Finds plugins and makes their instances."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from errklein.plugins.botplugin import BotPlugin
from errklein.plugins.classes import plugin_class
from errklein.plugins.discovery import entry_point_roots, find_plug_files
from errklein.plugins.imports import load_module
from errklein.plugins.plug_file import PlugError, PlugFile
from errklein.plugins.plugin import RAISED, Plugin, PluginError, as_raised

if TYPE_CHECKING:
    from errklein.bot import Bot

T = TypeVar("T")

CORE_PLUGINS = Path(__file__).parent.parent / "core_plugins"


class Loader:
    """Keeps `plugins`, all that were found by their names. Their code is imported and instantiated in a thread."""

    log = Logger()

    def __init__(self, bot: Bot) -> None:
        self.plugins: dict[str, Plugin] = {}
        self._bot = bot

    async def load_all(self, roots: Iterable[Path]) -> list[str]:
        """Load the core plugins, those below `roots`, and those of installed distributions; returns what went wrong."""
        found = await self._in_thread(lambda: find_plug_files([CORE_PLUGINS, *roots, *entry_point_roots()]))
        problems = [str(place) for place in found.unreadable]
        for path in found:
            try:
                problems.extend(await self._find(path))
            except Exception as error:
                problems.append(str(error))
        return problems

    def adopt(self, cls: type[BotPlugin]) -> None:
        """Have a plugin that is a class, named as itself and without a .plug file."""
        path = Path(inspect.getfile(cls))
        plugin = self.plugins[cls.__name__] = Plugin(PlugFile(cls.__name__, path.stem, path))
        plugin.instance = cls(self._bot, name=cls.__name__)

    async def load_again(self, plugin: Plugin) -> None:
        """Read the plugin's files again and make a new instance; what can't be used changes nothing."""
        try:
            plug = await self._in_thread(partial(PlugFile.load, plugin.plug.path))
        except PlugError as error:
            raise PluginError(str(error)) from error
        if plug.name != plugin.name:
            raise PluginError(
                f"{plug.path}: the plugin is called {plug.name} now; restart the bot to rename {plugin.name}"
            )
        refusal = plug.refusal()
        if refusal is not None:
            raise PluginError(f"{plug.name}: {refusal}")
        await self._load(plugin, plug, fresh=True)

    async def _find(self, path: Path) -> list[str]:
        plug = await self._in_thread(partial(PlugFile.load, path))
        chosen = self._bot.bot_config.CORE_PLUGINS
        is_core = path.parent == CORE_PLUGINS
        if is_core and chosen is not None and plug.name not in chosen:
            return []
        if plug.name in self.plugins:
            return [f"{path}: there is already a plugin named {plug.name}, in {self.plugins[plug.name].plug.path}"]
        plugin = self.plugins[plug.name] = Plugin(plug)
        refusal = plug.refusal()
        if refusal is not None:
            plugin.problem = f"{plug.name}: {refusal}"
            return [plugin.problem]
        warning = await self._load(plugin, plug, fresh=False)
        return [warning] if warning else []

    async def _load(self, plugin: Plugin, plug: PlugFile, fresh: bool) -> str:
        """Make an instance of the plugin's class; returns a warning, if there is something to warn of."""
        try:
            module = await self._in_thread(partial(load_module, plug, fresh=fresh))
            cls, warning = plugin_class(module, BotPlugin)
            instance = await self._in_thread(partial(cls, self._bot, name=plugin.name))
        except RAISED as error:
            problem = str(error)
            if not problem.startswith(plugin.name):
                problem = f"{plugin.name}: {type(error).__name__} while it was loaded: {error}"
                self.log.failure("{plugin} could not be loaded", plugin=plugin.name)
            if plugin.instance is None:
                plugin.problem = problem
            raise PluginError(problem) from error
        instance.dependencies = list(plug.depends_on)
        plugin.plug = plug
        plugin.instance = instance
        plugin.problem = ""
        return warning or ""

    def _in_thread(self, work: Callable[[], T]) -> Deferred[T]:
        return self._bot.plugin_pool.run(lambda: work).addErrback(as_raised)
