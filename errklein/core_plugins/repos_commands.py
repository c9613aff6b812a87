"""`!repos …`: the repositories of plugins."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from functools import cached_property, partial
from pathlib import Path
from typing import TypeVar

from twisted.internet.defer import Deferred

from errklein.chat import Message
from errklein.commands import CommandError, botcmd
from errklein.core_plugins import CorePlugin
from errklein.dispatch import DetailedError
from errklein.plugins.plugin import KnownProblem, Plugin, PluginError, PluginTimeout
from errklein.plugins.repos import BotRepoManager, RepoEntry, RepoException, Updated
from errklein.running import SerialQueue
from errklein.text import code, plain

T = TypeVar("T")

_MOST_FOUND = 100
"""How many repositories a search shows. Anybody may search, and who gets more has to look for another word."""


class ReposCommands(CorePlugin):
    """The commands; the plugin that has them is the bot's own `Plugins`."""

    @property
    def _repos(self) -> BotRepoManager:
        return self._bot.repo_manager

    @botcmd
    async def repos(self, msg: Message, args: str) -> str:
        """List the repositories of plugins that are installed."""
        await self._read_index()
        rows = [
            ("I" if found else "IP", name, _described(found))
            for name in sorted(self._repos.get_installed_plugin_repos())
            for found in [self._repos.get_repo_from_index(name)]
        ]
        nothing = f"No repository is installed. `{self._bot.prefix}repos search <word>` looks for some."
        return self._bot.process_template("repos", {"repos": rows, "nothing": nothing})

    @botcmd
    async def repos_search(self, msg: Message, args: str) -> str:
        """Look for repositories in the index, by words in their names and descriptions."""
        if not args.strip():
            raise CommandError("Please specify a keyword.")
        await self._read_index()
        if self._repos.without_index:
            # Why not may tell more than everybody should know.
            raise CommandError("The index of plugins can't be read; the log says why.")
        found = await self._in_thread(lambda: list(self._repos.search_repos(args)))
        installed = self._repos.get_installed_plugin_repos()
        by_name: dict[str, list[RepoEntry]] = {}
        for entry in found:
            by_name.setdefault(entry.entry_name, []).append(entry)
        names = list(by_name)[:_MOST_FOUND]
        rows = [("I" if name in installed else "", name, _described(by_name[name])) for name in names]
        parameters = {
            "repos": rows,
            "nothing": f"Nothing is found for {code(args.strip())}.",
            "more": len(by_name) - len(rows),
            "command": f"`{self._bot.prefix}repos install <name>`",
        }
        return self._bot.process_template("repos2", parameters)

    @botcmd(admin_only=True, historize=False)
    async def repos_install(self, msg: Message, args: str) -> AsyncIterator[str]:
        """Install a repository: its name in the index, or the URL of a git repository or of a .tar.gz archive."""
        repo = args.strip()
        if not repo:
            search = f"`{self._bot.prefix}repos search`"
            raise CommandError(f"Please specify a repository that {search} finds, or the URL of one.")
        yield "Installing it…"
        path = Path(await self._asked(partial(self._repos.install_repo, repo)))
        name = self._repos.name_of(path)
        problems = await self._bot.plugin_manager.add([path])
        broken = [plugin for plugin in self._below(path) if plugin.instance is None]
        if broken or not self._below(path):
            await self._forget(name, path)
            if not problems:
                raise CommandError(f"{name} was not installed:\n\n" + _list(["it contains no plugin"]))
            summary = f"{name} was not installed"
            raise DetailedError(f"{summary}:\n\n" + _list(list(problems.values())), summary)
        yield f"{name} is installed. Its plugins are activated now…"
        problems_of_some = [*problems.values(), *await self._activate(self._below(path))]
        yield self._problems(msg, problems_of_some) or "All of them work."

    @botcmd(admin_only=True)
    async def repos_uninstall(self, msg: Message, args: str) -> str:
        """Remove a repository and its plugins; what they have stored stays."""
        name = args.strip()
        if not name:
            raise CommandError("Please name one of the repositories that are installed.")
        if name not in self._repos.get_installed_plugin_repos():
            raise CommandError(f"{code(name)} is not installed; `{self._bot.prefix}repos` lists those that are.")
        path = self._repos.path_of(name)
        names = [plugin.name for plugin in self._below(path)]
        overdue = await self._forget(name, path)
        kept = f" What {', '.join(names)} stored is kept." if names else ""
        return f"Repo {name} removed.{kept}" + (f"\n\n{_list(overdue)}" if overdue else "")

    @botcmd(admin_only=True)
    async def repos_update(self, msg: Message, args: str) -> AsyncIterator[str]:
        """Have the newest state of repositories, named or `all`, and reload their plugins."""
        names = args.split()
        installed = self._repos.get_installed_plugin_repos()
        if not names:
            raise CommandError("Please name the repositories to update, or `all`.")
        for name in installed if "all" in names else dict.fromkeys(names):
            if name not in installed:
                yield f"{code(name)} is not installed; `{self._bot.prefix}repos` lists those that are."
                continue
            try:
                updated = await self._in_thread(partial(self._repos.renew, name))
            except RepoException as error:
                yield f"{name} was not updated: {plain(str(error))}"
            else:
                yield await self._reload(name, updated, msg)
        yield "Done."

    async def _reload(self, name: str, updated: Updated, msg: Message) -> str:
        """Have the plugins of a repository as they are now, or, if one of them can't be loaded, all as they were."""
        manager, path = self._bot.plugin_manager, self._repos.path_of(name)
        before = self._below(path)
        gone = [plugin.name for plugin in before if not plugin.plug.path.exists()]
        kept = [plugin.name for plugin in before if plugin.name not in gone]
        await manager.remove_flows(path)
        problems = await manager.add([path])
        added = [plugin for plugin in self._below(path) if plugin not in before]
        reloaded: list[str] = []
        overdue: list[str] = []
        try:
            for plugin in kept:
                overdue += await _tolerated(manager.reload(plugin))
                reloaded.append(plugin)
            for one in added:
                if one.instance is None:
                    raise KnownProblem(one.problem)
        except PluginError as error:
            await self._asked(updated.undo)
            await _tolerated(manager.remove([plugin.name for plugin in added]))
            for plugin in reloaded:
                await _tolerated(manager.reload(plugin))
            await manager.remove_flows(path)
            await manager.add([path])
            summary = f"{name} was not updated, and works as before"
            text = f"{summary}: {plain(str(error))}"
            return self._disclosed(msg, text, summary) if error.repeats_exception else text
        await self._asked(updated.keep)
        overdue += await _tolerated(manager.remove(gone))
        lines = [*problems.values(), *overdue, *await self._activate(added)]
        inactive = {plugin.name for plugin in before if not plugin.active}
        named = [f"{plugin} (not activated)" if plugin in inactive else plugin for plugin in reloaded]
        named += [*(plugin.name for plugin in added), *(f"{plugin} (removed)" for plugin in gone)]
        return f"{name} is up to date: {', '.join(named)}.\n\n{self._problems(msg, lines)}".rstrip()

    def _problems(self, msg: Message, lines: list[str]) -> str:
        return self._disclosed(msg, _list(lines), "Not all of them work") if lines else ""

    async def _activate(self, plugins: list[Plugin]) -> list[str]:
        """Activate those that aren't; returns a line for each that stays inactive."""
        lines = []
        for plugin in plugins:
            if self._bot.plugin_manager.is_blacklisted(plugin.name):
                lines.append(f"{plugin.name} is blacklisted.")
            elif not plugin.active:
                try:
                    await self._bot.plugin_manager.activate(plugin.name)
                except PluginError as error:
                    lines.append(str(error))
        return lines

    def _sees_details(self, msg: Message) -> bool:
        """Whether the reply may contain exceptions of plugins; see `Disclosure.allowed`."""
        return self._bot.disclosure.allowed(self._bot.backend, msg)

    def _disclosed(self, msg: Message, text: str, summary: str) -> str:
        """The text, which contains exceptions of plugins, if the sender may read it; else the summary and an error id."""
        return self._bot.disclosure.reply(self._bot.backend, msg, text, summary)

    async def _forget(self, name: str, path: Path) -> list[str]:
        """Remove a repository and its plugins; returns a line for each plugin whose `deactivate` hangs."""
        overdue = await _tolerated(self._bot.plugin_manager.remove_below(path))
        await self._asked(partial(self._repos.uninstall_repo, name))
        return overdue

    def _below(self, path: Path) -> list[Plugin]:
        return [plugin for plugin in self._bot.plugin_manager.found if plugin.plug.path.is_relative_to(path)]

    @cached_property
    def _readings(self) -> SerialQueue:
        return SerialQueue(self._bot.reactor)

    def _read_index(self) -> Deferred[None]:
        """Read the index if it is old. Callers wait here, since threads would be used up if a server hangs."""
        return self._readings.run(lambda: self._in_thread(self._repos.check_for_index_update))

    async def _asked(self, work: Callable[[], T]) -> T:
        """What the work, done in a thread, comes to; what can't be done is told to whoever asked."""
        try:
            return await self._in_thread(work)
        except RepoException as error:
            raise CommandError(plain(str(error))) from error

    def _in_thread(self, work: Callable[[], T]) -> Deferred[T]:
        return self._bot.plugin_pool.run(lambda: work, name=lambda: "a command for repositories")


async def _tolerated(change: Deferred[None]) -> list[str]:
    """Wait for the change, which succeeds even if plugins hang; returns a line for each plugin that does."""
    try:
        await change
    except PluginTimeout as error:
        return str(error).splitlines()
    return []


def _described(entries: list[RepoEntry]) -> str:
    """The plugins of a repository and what they are for, a line each."""
    if len(entries) == 1:
        return entries[0].documentation or ""
    return "\n".join(f"{entry.name}: {entry.documentation or ''}" for entry in entries)


def _list(lines: list[str]) -> str:
    return "\n".join(f"- {plain(line)}" for line in lines)
