"""The commands `!repos …`, which install, update and remove repositories of plugins."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from errklein.chat import Message
from errklein.commands import CommandError, botcmd
from errklein.core_plugins import CorePlugin
from errklein.dispatch import DetailedError
from errklein.plugins.plugin import PluginError
from errklein.plugins.repos import RepoEntry, RepoException
from errklein.plugins.repos.operations import NotInstalled
from errklein.text import code, plain

_MOST_FOUND = 100
"""Maximum number of repositories in the reply to a search, since everyone may search."""


class ReposCommands(CorePlugin):
    """The commands `!repos …`, as a base class of the core plugin `Plugins`."""

    @botcmd
    async def repos(self, msg: Message, args: str) -> str:
        """List the installed repositories of plugins."""
        found = await self.host.repositories.repositories(self.actor(msg))
        rows = [("I" if plugins else "IP", name, _described(plugins)) for name, plugins in found.entries.items()]
        nothing = f"No repositories are installed. Use `{self.host.prefix}repos search KEYWORD` to find some."
        return self.render("repos", {"repos": rows, "nothing": nothing})

    @botcmd
    async def repos_search(self, msg: Message, args: str) -> str:
        """Search the index of repositories.

        Usage: !repos search KEYWORD …

        The names and descriptions of repositories and plugins are searched.
        """
        if not args.strip():
            raise CommandError(f"Please specify a keyword: {code(f'{self.host.prefix}repos search KEYWORD')}")
        found = await self.host.repositories.search(self.actor(msg), args)
        if found is None:
            # The reason may contain internals that not everyone should read.
            raise CommandError("The index of plugins can't be read; see the log for the reason.")
        rows = [
            ("I" if name in found.installed else "", name, _described(plugins))
            for name, plugins in list(found.entries.items())[:_MOST_FOUND]
        ]
        parameters = {
            "repos": rows,
            "nothing": f"No repository matches {code(args.strip())}.",
            "more": len(found.entries) - len(rows),
            "command": f"`{self.host.prefix}repos install NAME`",
        }
        return self.render("repos2", parameters)

    @botcmd(admin_only=True, historize=False)
    async def repos_install(self, msg: Message, args: str) -> AsyncIterator[str]:
        """Install a repository and activate its plugins.

        Usage: !repos install NAME | URL

        NAME is a repository in the index (!repos search), URL that of a git repository or a .tar.gz archive.
        """
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
        except RepoException as error:
            raise CommandError(plain(str(error))) from error
        yield f"{installed.name} is installed. Activating its plugins …"
        problems = [*installed.problems, *await repositories.activate(by, installed)]
        yield self._problems(msg, problems) or "All its plugins are active."

    @botcmd(admin_only=True)
    async def repos_uninstall(self, msg: Message, args: str) -> str:
        """Remove a repository and its plugins.

        Usage: !repos uninstall NAME

        The stored data of its plugins is kept.
        """
        name = args.strip()
        if not name:
            raise CommandError(f"Please name the repository to remove; {self._see_repos}.")
        if name not in self.host.repositories.installed(self.actor(msg)):
            raise CommandError(f"{code(name)} is not installed; {self._see_repos}.")
        try:
            removed = await self.host.repositories.uninstall(self.actor(msg), name)
        except RepoException as error:
            raise CommandError(plain(str(error))) from error
        kept = f" The stored data of {', '.join(removed.removed)} is kept." if removed.removed else ""
        return f"Repository {name} removed.{kept}" + (f"\n\n{_list(removed.problems)}" if removed.problems else "")

    @botcmd(admin_only=True)
    async def repos_update(self, msg: Message, args: str) -> AsyncIterator[str]:
        """Update repositories and reload their plugins.

        Usage: !repos update all | NAME …
        """
        names, installed = args.split(), self.host.repositories.installed(self.actor(msg))
        if not names:
            raise CommandError(f"Please name the repositories to update, or use `all`; {self._see_repos}.")
        self._check_allowed()
        for name in installed if "all" in names else dict.fromkeys(names):
            yield (
                await self._update(name, msg)
                if name in installed
                else f"{code(name)} is not installed; {self._see_repos}."
            )
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


def _described(entries: Sequence[RepoEntry]) -> str:
    """Return a line for each plugin of a repository, with its description."""
    if len(entries) == 1:
        return entries[0].documentation or ""
    return "\n".join(f"{entry.name}: {entry.documentation or ''}" for entry in entries)


def _list(lines: Sequence[str]) -> str:
    return "\n".join(f"- {plain(line)}" for line in lines)
