"""The commands `!echo`, `!whoami`, `!history`, `!person forget`, `!log tail` and `!render test`."""

from __future__ import annotations

from errklein.chat import Message, RoomOccupant, UserDoesNotExistError, UserNotUniqueError
from errklein.commands import CommandError, botcmd
from errklein.core_plugins import CorePlugin, shown_lines
from errklein.dispatch import Sender
from errklein.logs import last_lines
from errklein.ports.journal import JournalError
from errklein.storage import StorageError
from errklein.text import code, fenced, plain
from errklein.text.masking import masker
from errklein.webhooks.delivery_words import parse_ids

_LINES = 40
_MOST_LINES = 1000
_MOST_CHARACTERS = 1000


class Utils(CorePlugin):
    """Inspect messages, identities, the history and the log, and remove what is stored of people."""

    refusals = UserDoesNotExistError, UserNotUniqueError, JournalError, StorageError

    @botcmd(syntax="TEXT")
    async def echo(self, msg: Message, args: str) -> str:
        """Repeat a text."""
        return args

    @botcmd(syntax="[NAME]")
    def whoami(self, msg: Message, args: str) -> str:
        """Show how the bot identifies you or another person."""
        who = self.identifier_of(args.strip()) if args.strip() else msg.frm
        rows = [(name, getattr(who, name, None)) for name in ("person", "nick", "fullname", "client", "email")]
        if isinstance(who, RoomOccupant):
            rows.append(("room", who.room))
        values = {"rows": rows, "who": who, "kind": type(who).__name__, "network": getattr(who, "network", "")}
        return self.render("whoami", {**values, "aclattr": getattr(who, "aclattr", "")})

    @botcmd(historize=False)
    async def history(self, msg: Message, args: str) -> str:
        """Show your latest commands in this room or in private.

        A prefix and a number repeat one of them, as in !3, and a second prefix the latest one."""
        entries = self.host.dispatcher.histories[self.host.networks.current.network].entries(Sender.of(msg))
        numbered = zip(range(len(entries), 0, -1), entries, strict=True)
        lines = (f"{n}:{self.host.prefix}{command.replace('_', ' ')} {given or ''}" for n, (command, given) in numbered)
        return "  \n".join(map(plain, lines))

    @botcmd(admin_only=True, historize=False, syntax="PERSON [--deliveries ID …]")
    async def person_forget(self, msg: Message, args: str) -> str:
        """Remove what is stored of a person.

        Commands, notices and plugins' values are removed, and deliveries that have ended and mention the person are listed. With
        ids of these, their headers and bodies are removed."""
        name, option, rest = (text.strip() for text in args.partition("--deliveries"))
        by, persons, ids = self.actor(msg), self.host.persons, parse_ids(rest.split())
        if not name or (option and ids is None):
            raise CommandError(f"Usage: {code(f'{self.host.prefix}person forget PERSON [--deliveries ID …]')}")
        if ids is not None:
            return "\n".join(await persons.forget_deliveries(by, name, ids))
        found = await persons.forget(by, name)
        return "\n".join(shown_lines([*found.lines(f"{self.host.prefix}person forget {name}")], _MOST_CHARACTERS))

    @botcmd(admin_only=True, syntax="[LINES]")
    def log_tail(self, msg: Message, args: str) -> str:
        """Show the last lines of the log, in private only.

        By default it shows 40 lines."""
        if not (by := self.actor(msg)).reads_details:
            # The log contains the texts of exceptions.
            raise CommandError("The log is shown only to administrators in a private chat.")
        wanted = args.strip() or str(_LINES)
        if not wanted.isdecimal() or len(wanted) > 4 or not 0 < int(wanted) <= _MOST_LINES:
            raise CommandError(f"The number of lines must be from 1 to {_MOST_LINES}, not {code(wanted)}.")
        if (path := self.host.process.log_file(by)) is None:
            raise CommandError("There is no log file; set BOT_LOG_FILE to its path.")
        try:
            lines = last_lines(path, int(wanted))
        except OSError as error:
            raise CommandError(f"The log file can't be read: {error.strerror}.") from error
        return fenced(masker("\n".join(lines))) if lines else "The log is empty."

    @botcmd
    async def render_test(self, msg: Message, args: str) -> str:
        """Show how this network renders Markdown."""
        return self.render("render_test", {})
