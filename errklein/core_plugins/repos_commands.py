"""The commands `!repos …`, which install, update and remove repositories of plugins."""

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
from errklein.plugins.repos import BotRepoManager, RepoEntry, RepoException, Updated, shown
from errklein.running import SerialQueue
from errklein.text import code, plain

T = TypeVar("T")

_MOST_FOUND = 100
"""Maximum number of repositories in the reply to a search, since everyone may search."""


class ReposCommands(CorePlugin):
    """The commands `!repos …`, as a base class of the core plugin `Plugins`."""

    @property
    def _repos(self) -> BotRepoManager:
        return self._bot.repo_manager

    @botcmd
    async def repos(self, msg: Message, args: str) -> str:
        """List the installed repositories of plugins."""
        await self._read_index()
        rows = [
            ("I" if found else "IP", name, _described(found))
            for name in sorted(self._repos.get_installed_plugin_repos())
            for found in [self._repos.get_repo_from_index(name)]
        ]
        nothing = f"No repositories are installed. Use `{self._bot.prefix}repos search KEYWORD` to find some."
        return self._bot.process_template("repos", {"repos": rows, "nothing": nothing})

    @botcmd
    async def repos_search(self, msg: Message, args: str) -> str:
        """Search the index of repositories.

        Usage: !repos search KEYWORD …

        The names and descriptions of repositories and plugins are searched.
        """
        if not args.strip():
            raise CommandError(f"Please specify a keyword: {code(f'{self._bot.prefix}repos search KEYWORD')}")
        await self._read_index()
        if self._repos.without_index:
            # The reason may contain internals that not everyone should read.
            raise CommandError("The index of plugins can't be read; see the log for the reason.")
        found = await self._in_thread(lambda: list(self._repos.search_repos(args)))
        installed = self._repos.get_installed_plugin_repos()
        by_name: dict[str, list[RepoEntry]] = {}
        for entry in found:
            by_name.setdefault(entry.entry_name, []).append(entry)
        names = list(by_name)[:_MOST_FOUND]
        rows = [("I" if name in installed else "", name, _described(by_name[name])) for name in names]
        parameters = {
            "repos": rows,
            "nothing": f"No repository matches {code(args.strip())}.",
            "more": len(by_name) - len(rows),
            "command": f"`{self._bot.prefix}repos install NAME`",
        }
        return self._bot.process_template("repos2", parameters)

    @botcmd(admin_only=True, historize=False)
    async def repos_install(self, msg: Message, args: str) -> AsyncIterator[str]:
        """Install a repository and activate its plugins.

        Usage: !repos install NAME | URL

        NAME is a repository in the index (!repos search), URL that of a git repository or a .tar.gz archive.
        """
        repo = args.strip()
        if not repo:
            search = f"`{self._bot.prefix}repos search KEYWORD`"
            raise CommandError(f"Please specify a repository: a name from {search}, or a URL.")
        self._check_allowed()
        self._log_change(msg, f"installs the repository {shown(repo)}")
        # The URL may contain a password.
        yield "Installing the repository …"
        path = Path(await self._asked(partial(self._repos.install_repo, repo)))
        name = self._repos.name_of(path)
        problems = await self._bot.plugin_manager.add([path])
        broken = [plugin for plugin in self._below(path) if plugin.instance is None]
        if broken or not self._below(path):
            await self._forget(name, path)
            if not problems:
                raise CommandError(f"{name} was not installed:\n\n" + _list(["it contains no plugins"]))
            summary = f"{name} was not installed"
            raise DetailedError(f"{summary}:\n\n" + _list(list(map(str, problems))), summary)
        yield f"{name} is installed. Activating its plugins …"
        problems_of_some = [*map(str, problems), *await self._activate(self._below(path))]
        yield self._problems(msg, problems_of_some) or "All its plugins are active."

    @botcmd(admin_only=True)
    async def repos_uninstall(self, msg: Message, args: str) -> str:
        """Remove a repository and its plugins.

        Usage: !repos uninstall NAME

        The stored data of its plugins is kept.
        """
        name = args.strip()
        if not name:
            raise CommandError(f"Please name the repository to remove; {self._see_repos}.")
        if name not in self._repos.get_installed_plugin_repos():
            raise CommandError(f"{code(name)} is not installed; {self._see_repos}.")
        self._log_change(msg, f"removes the repository {shown(name)}")
        path = self._repos.path_of(name)
        names = [plugin.name for plugin in self._below(path)]
        overdue = await self._forget(name, path)
        kept = f" The stored data of {', '.join(names)} is kept." if names else ""
        return f"Repository {name} removed.{kept}" + (f"\n\n{_list(overdue)}" if overdue else "")

    @botcmd(admin_only=True)
    async def repos_update(self, msg: Message, args: str) -> AsyncIterator[str]:
        """Update repositories and reload their plugins.

        Usage: !repos update all | NAME …
        """
        names = args.split()
        installed = self._repos.get_installed_plugin_repos()
        if not names:
            raise CommandError(f"Please name the repositories to update, or use `all`; {self._see_repos}.")
        self._check_allowed()
        self._log_change(msg, f"updates the repositories {shown(' '.join(names))}")
        for name in installed if "all" in names else dict.fromkeys(names):
            if name not in installed:
                yield f"{code(name)} is not installed; {self._see_repos}."
                continue
            try:
                updated = await self._in_thread(partial(self._repos.renew, name))
            except RepoException as error:
                yield f"{name} was not updated: {plain(str(error))}"
            else:
                yield await self._reload(name, updated, msg)
        yield "Done."

    def _check_allowed(self) -> None:
        if not self.bot_config.INSTALL_FROM_CHAT:
            raise CommandError("INSTALL_FROM_CHAT is False, so plugins can't be installed or updated from chat.")

    def _log_change(self, msg: Message, change: str) -> None:
        # Code of a repository runs with the rights of the bot, so the log says who has chosen it.
        self.log.info("%s %s", msg.frm, change)

    @property
    def _see_repos(self) -> str:
        return f"`{self._bot.prefix}repos` lists the installed repositories"

    async def _reload(self, name: str, updated: Updated, msg: Message) -> str:
        """Reload, add and remove the plugins of an updated repository; return the reply.

        If a plugin can't be loaded, the update is undone, and all plugins are as before.
        """
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
            summary = f"{name} was not updated; its plugins are as before"
            text = f"{summary}: {plain(str(error))}"
            return self._disclosed(msg, text, summary) if error.repeats_exception else text
        await self._asked(updated.keep)
        overdue += await _tolerated(manager.remove(gone))
        lines = [*map(str, problems), *overdue, *await self._activate(added)]
        inactive = {plugin.name for plugin in before if not plugin.active}
        named = [f"{plugin} (inactive)" if plugin in inactive else plugin for plugin in reloaded]
        named += [*(plugin.name for plugin in added), *(f"{plugin} (removed)" for plugin in gone)]
        return f"{name} is up to date: {', '.join(named)}.\n\n{self._problems(msg, lines)}".rstrip()

    def _problems(self, msg: Message, lines: list[str]) -> str:
        return self._disclosed(msg, _list(lines), "Some plugins have problems") if lines else ""

    async def _activate(self, plugins: list[Plugin]) -> list[str]:
        """Activate the inactive plugins; return a line for each that stays inactive."""
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
        """Return whether the reply may contain texts of exceptions; see `Disclosure.allowed`."""
        return self._bot.disclosure.allowed(self._bot.backend, msg)

    def _disclosed(self, msg: Message, text: str, summary: str) -> str:
        """Return the text, which contains texts of exceptions, if the sender may read it, else the summary and an error id."""
        return self._bot.disclosure.reply(self._bot.backend, msg, text, summary)

    async def _forget(self, name: str, path: Path) -> list[str]:
        """Remove a repository and its plugins; return a line for each plugin whose `deactivate` hangs."""
        overdue = await _tolerated(self._bot.plugin_manager.remove_below(path))
        await self._asked(partial(self._repos.uninstall_repo, name))
        return overdue

    def _below(self, path: Path) -> list[Plugin]:
        return [plugin for plugin in self._bot.plugin_manager.found if plugin.plug.path.is_relative_to(path)]

    @cached_property
    def _readings(self) -> SerialQueue:
        return SerialQueue(self._bot.reactor)

    def _read_index(self) -> Deferred[None]:
        """Read the index if it is old. Only one caller uses a thread, so a server that hangs doesn't exhaust the pool."""
        return self._readings.run(lambda: self._in_thread(self._repos.check_for_index_update))

    async def _asked(self, work: Callable[[], T]) -> T:
        """Return the result of the work, done in a thread. A RepoException becomes a CommandError."""
        try:
            return await self._in_thread(work)
        except RepoException as error:
            raise CommandError(plain(str(error))) from error

    def _in_thread(self, work: Callable[[], T]) -> Deferred[T]:
        return self._bot.plugin_pool.run(lambda: work, name=lambda: "a command for repositories")


async def _tolerated(change: Deferred[None]) -> list[str]:
    """Wait for the change; return a line for each plugin that hangs. The change succeeds nevertheless."""
    try:
        await change
    except PluginTimeout as error:
        return str(error).splitlines()
    return []


def _described(entries: list[RepoEntry]) -> str:
    """Return a line for each plugin of a repository, with its description."""
    if len(entries) == 1:
        return entries[0].documentation or ""
    return "\n".join(f"{entry.name}: {entry.documentation or ''}" for entry in entries)


def _list(lines: list[str]) -> str:
    return "\n".join(f"- {plain(line)}" for line in lines)
