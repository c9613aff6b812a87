"""The commands `!plugin …`, which configure, activate, reload and inspect plugins, and `!repos …`, which install repositories of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from pprint import pformat
from typing import Any, TypeVar

from errklein.chat import Message
from errklein.commands import CommandError, botcmd
from errklein.commands.operations import Actor
from errklein.core_plugins import CorePlugin
from errklein.dispatch import DetailedError
from errklein.plugins.operations import not_shown
from errklein.plugins.plugin import PluginConfigurationException, PluginError
from errklein.plugins.repos import RepoEntry, RepoException
from errklein.plugins.repos.manager import NotInstalled
from errklein.text import code, fenced, plain, plain_lines, truncated

T = TypeVar("T")
_SHOWN = 500
_MOST_FOUND = 100  # maximum number of repositories in the reply to a search, since everyone may search


class Plugins(CorePlugin):
    """Configure, activate and reload plugins, and install repositories of plugins."""

    refusals = PluginError, RepoException

    def refusal(self, error: Exception) -> CommandError:
        """Return the error, whose text only administrators get, and only in private, if it may be that of a plugin's exception."""
        is_about_config = isinstance(error, PluginConfigurationException)
        summary = "Incorrect plugin configuration" if is_about_config else "The plugin has failed"
        text = f"{summary}: {plain(str(error))}" if is_about_config else plain_lines(str(error))
        return DetailedError(text, summary) if getattr(error, "repeats_exception", False) else CommandError(text)

    @botcmd(admin_only=True, historize=False, syntax="PLUGIN [CONFIGURATION]")
    async def plugin_config(self, msg: Message, args: str) -> str:
        """Show or set the configuration of a plugin.

        CONFIGURATION is a Python literal, as in !plugin config Example {'TOKEN': 'abc'}"""
        name, text = [*args.split(maxsplit=1), "", ""][:2]
        by, name = self.actor(msg), self._named(name, "configure")
        template, stored = await self.host.plugins.configuration(by, name)
        plugin = self.host.plugin_manager.plugin(name)
        if plugin.instance is None:
            summary = f"{name} could not be loaded"
            raise DetailedError(f"{summary}: {plain(plugin.problem)}", summary)
        if template is None:
            return f"{name} is not configurable."
        if not text:
            command = f"{self.host.prefix}plugin config {name}"
            default = fenced(f"{command} {pformat(template)}")
            reply = f"Default configuration (paste and adapt this command):\n\n{default}"
            if stored is not None:
                reply += f"\n\nCurrent configuration:\n\n{fenced(f'{command} {_represented(stored, by, pformat)}')}"
            return reply
        await self.host.plugins.configure_from(by, name, text.strip())
        return "Plugin configuration done."

    @botcmd(admin_only=True, syntax="PLUGIN")
    async def plugin_activate(self, msg: Message, args: str) -> str:
        """Activate a plugin."""
        name = self._named(args, "activate")
        await self.host.plugins.activate(self.actor(msg), name)
        return f"Plugin {name} activated."

    @botcmd(admin_only=True, syntax="PLUGIN")
    async def plugin_deactivate(self, msg: Message, args: str) -> str:
        """Deactivate a plugin, its commands and its webhooks.

        The bot activates it again at its next start. To prevent that, use !plugin blacklist."""
        name = self._named(args, "deactivate")
        await self.host.plugins.deactivate(self.actor(msg), name)
        return f"Plugin {name} deactivated."

    @botcmd(admin_only=True, syntax="PLUGIN")
    async def plugin_reload(self, msg: Message, args: str) -> str:
        """Reload the code of a plugin.

        An inactive plugin stays inactive."""
        name = self._named(args, "reload")
        is_active = await self.host.plugins.reload(self.actor(msg), name)
        activate = code(f"{self.host.prefix}plugin activate {name}")
        return f"Plugin {name} reloaded." + ("" if is_active else f" It is inactive; use {activate} to activate it.")

    @botcmd(admin_only=True, syntax="PLUGIN")
    async def plugin_blacklist(self, msg: Message, args: str) -> str:
        """Deactivate a plugin now and at every start."""
        name = self._named(args, "blacklist")
        is_new = await self.host.plugins.blacklist(self.actor(msg), name)
        return f"Plugin {name} is {'now' if is_new else 'already'} blacklisted."

    @botcmd(admin_only=True, syntax="PLUGIN")
    async def plugin_unblacklist(self, msg: Message, args: str) -> AsyncIterator[str]:
        """Activate a blacklisted plugin now and at every start."""
        by, name = self.actor(msg), self._named(args, "unblacklist")
        if not await self.host.plugins.unblacklist(by, name):
            yield f"Plugin {name} is not blacklisted."
            return
        yield f"Plugin {name} removed from blacklist."
        if any(plugin.name == name and not plugin.active for plugin in self.host.plugin_manager.found):
            await self.host.plugins.activate(by, name)

    @botcmd(admin_only=True, syntax="PLUGIN")
    async def plugin_info(self, msg: Message, args: str) -> str:
        """Show a plugin's files, state, configuration and stored data.

        Secrets and stored values are masked except in private."""
        by = self.actor(msg)
        found = await self.host.plugins.plugin(by, self._named(args, "show"))
        values = {
            "found": found,
            "plug": found.plug,
            "configuration": "" if found.configuration is None else _represented(found.configuration, by),
            "code": code,
            "shown": lambda value: code(truncated(str(value), _SHOWN)),
        }
        return self.render("plugin_info", values)

    def _named(self, args: str, verb: str) -> str:
        name = args.strip()
        if not name:
            names = "\n".join(f"- {plugin.name}" for plugin in self.host.plugin_manager.found)
            raise CommandError(f"Please name the plugin to {verb}:\n\n{names}")
        return name

    @botcmd
    async def repos(self, msg: Message, args: str) -> str:
        """List the installed repositories of plugins."""
        found = await self.host.repositories.repositories(self.actor(msg))
        rows = [("I" if plugins else "IP", name, _described(plugins)) for name, plugins in found.entries.items()]
        nothing = f"No repositories are installed. Use `{self.host.prefix}repos search KEYWORD` to find some."
        return self.render("repos", {"repos": rows, "nothing": nothing})

    @botcmd(syntax="KEYWORD …")
    async def repos_search(self, msg: Message, args: str) -> str:
        """Search the index of repositories.

        The names and descriptions of repositories and plugins are searched."""
        if not args.strip():
            raise CommandError(f"Please specify a keyword: {code(f'{self.host.prefix}repos search KEYWORD')}")
        if (found := await self.host.repositories.search(self.actor(msg), args)) is None:
            # The reason may contain internals that not everyone should read.
            raise CommandError("The index of plugins can't be read; see the log for the reason.")
        shown = list(found.entries.items())[:_MOST_FOUND]
        rows = [("I" if name in found.installed else "", name, _described(plugins)) for name, plugins in shown]
        parameters = {
            "repos": rows,
            "nothing": f"No repository matches {code(args.strip())}.",
            "more": len(found.entries) - len(rows),
            "command": f"`{self.host.prefix}repos install NAME`",
        }
        return self.render("repos2", parameters)

    @botcmd(admin_only=True, historize=False, syntax="NAME | URL")
    async def repos_install(self, msg: Message, args: str) -> AsyncIterator[str]:
        """Install a repository and activate its plugins.

        NAME is a repository in the index (!repos search), URL that of a git repository or a .tar.gz archive."""
        repo = args.strip()
        if not repo:
            search = f"`{self.host.prefix}repos search KEYWORD`"
            raise CommandError(f"Please specify a repository: a name from {search}, or a URL.")
        self._check_allowed()
        # The URL may contain a password.
        yield "Installing the repository …"
        by, repositories = self.actor(msg), self.host.repositories
        try:
            installed = await repositories.install(by, repo)
        except NotInstalled as error:
            if not error.problems:
                raise CommandError(f"{error}:\n\n" + _list(["it contains no plugins"])) from error
            raise DetailedError(f"{error}:\n\n" + _list(error.problems), str(error)) from error
        yield f"{installed.name} is installed. Activating its plugins …"
        problems = [*installed.problems, *await repositories.activate(by, installed)]
        yield self._problems(msg, problems) or "All its plugins are active."

    @botcmd(admin_only=True, syntax="NAME")
    async def repos_uninstall(self, msg: Message, args: str) -> str:
        """Remove a repository and its plugins.

        The stored data of its plugins is kept."""
        name = args.strip()
        if not name:
            raise CommandError(f"Please name the repository to remove; {self._see_repos}.")
        if name not in self.host.repositories.installed(self.actor(msg)):
            raise CommandError(f"{code(name)} is not installed; {self._see_repos}.")
        removed = await self.host.repositories.uninstall(self.actor(msg), name)
        kept = f" The stored data of {', '.join(removed.removed)} is kept." if removed.removed else ""
        return f"Repository {name} removed.{kept}" + (f"\n\n{_list(removed.problems)}" if removed.problems else "")

    @botcmd(admin_only=True, syntax="all | NAME …")
    async def repos_update(self, msg: Message, args: str) -> AsyncIterator[str]:
        """Update repositories and reload their plugins."""
        names, installed = args.split(), self.host.repositories.installed(self.actor(msg))
        if not names:
            raise CommandError(f"Please name the repositories to update, or use `all`; {self._see_repos}.")
        self._check_allowed()
        for name in installed if "all" in names else dict.fromkeys(names):
            missing = f"{code(name)} is not installed; {self._see_repos}."
            yield await self._update(name, msg) if name in installed else missing
        yield "Done."

    def _check_allowed(self) -> None:
        if not self.bot_config.INSTALL_FROM_CHAT:
            raise CommandError("INSTALL_FROM_CHAT is False, so plugins can't be installed or updated from chat.")

    @property
    def _see_repos(self) -> str:
        return f"`{self.host.prefix}repos` lists the installed repositories"

    async def _update(self, name: str, msg: Message) -> str:
        by, repositories = self.actor(msg), self.host.repositories
        try:
            updated = await repositories.update(by, name)
        except RepoException as error:
            return f"{name} was not updated: {plain(str(error))}"
        except PluginError as error:
            summary = f"{name} was not updated; its plugins are as before"
            text = f"{summary}: {plain(str(error))}"
            return self._disclosed(msg, text, summary) if error.repeats_exception else text
        lines = [*updated.problems, *await repositories.activate(by, updated)]
        named = [plugin if is_active else f"{plugin} (inactive)" for plugin, is_active in updated.reloaded.items()]
        named += [*(plugin.name for plugin in updated.added), *(f"{plugin} (removed)" for plugin in updated.removed)]
        return f"{name} is up to date: {', '.join(named)}.\n\n{self._problems(msg, lines)}".rstrip()

    def _problems(self, msg: Message, lines: Sequence[str]) -> str:
        return self._disclosed(msg, _list(lines), "Some plugins have problems") if lines else ""

    def _disclosed(self, msg: Message, text: str, summary: str) -> str:
        """Return the text, which contains texts of exceptions, if the sender may read it, else the summary and an error id."""
        return self.host.dispatcher.disclosure.text(text, summary, self.actor(msg).reads_details)


def _represented(value: Any, by: Actor, represent: Callable[[Any], str] = repr) -> str:
    try:
        return represent(value)
    except Exception as error:
        return f"({not_shown(error, by)})"


def _described(entries: Sequence[RepoEntry]) -> str:
    if len(entries) == 1:
        return entries[0].documentation or ""
    return "\n".join(f"{entry.name}: {entry.documentation or ''}" for entry in entries)


def _list(lines: Sequence[str]) -> str:
    return "\n".join(f"- {plain(line)}" for line in lines)
