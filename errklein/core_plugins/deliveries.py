"""The commands `!delivery list`, `show` and `replay`, `!webhook show`, `pause` and `resume`, `!message list` and `drop`, and `!why`."""

from __future__ import annotations

import shlex
from collections.abc import Awaitable, Callable

from errklein.chat import Message
from errklein.commands import CommandError, admin_by_default, botcmd
from errklein.commands.operations import Actor
from errklein.core_plugins import CorePlugin, shown_lines
from errklein.ports.journal import JournalError
from errklein.text import beginning, code, fenced, plain, truncated
from errklein.text.masking import masker
from errklein.webhooks.delivery_words import InvalidWords, parse_ids
from errklein.webhooks.exported import body_text, details, shown_time

_LINE = 300
_SHOWN = 2000
_EXPLAINED = 1000

_MOST_LINES = 100  # the number of lines of a reply. More would hold the reactor for too long.


class Deliveries(CorePlugin):
    """List, show, replay and explain the deliveries of webhooks, and what waits to be sent."""

    refusals = JournalError, InvalidWords

    @admin_by_default
    @botcmd(
        syntax="[WEBHOOK] [STATE …] [since TIME] [until TIME] [status STATUS] [answered STATUS] [reason TEXT] [source-id ID] [limit COUNT] [before ID] [grouped]",
        aliases=("deliveries",),
    )
    async def delivery_list(self, msg: Message, args: str) -> str:
        """List the latest deliveries of webhooks, or groups of them.

        WEBHOOK is Plugin:method, Plugin, the name of a webhook of a room, or a path. A state is received, running, retry, done, dead, failed,
        duplicate or refused. A time is a duration such as 10min, 2h or 3d, or an ISO date. With grouped, deliveries with the
        same reason are shown together, with the ids to replay, or those that the source must send again.
        """
        page = await self.host.webhooks.deliveries(self.actor(msg), _split(args), _MOST_LINES)
        lines = shown_lines(page.lines(), _SHOWN if page.is_grouped else _LINE)
        if page.older and not page.is_grouped:
            lines.append(f"Older ones: {code(f'{self.host.prefix}delivery list {page.older}')}")
        return "\n".join(lines) or "No delivery matches."

    @admin_by_default
    @botcmd(hidden=True)
    async def delivery(self, msg: Message, args: str) -> str:
        """Refuse a command without an action, and name the actions."""
        prefix, words = self.host.prefix, args.split()
        if parse_ids(words) is not None:
            raise CommandError(f"The command is {code(f'{prefix}delivery show {words[0]}')}.")
        actions = ", ".join(code(f"{prefix}delivery {action}") for action in ("list", "show ID", "replay ID"))
        raise CommandError(f"Name an action: {actions}.")

    @admin_by_default
    @botcmd(syntax="ID")
    async def delivery_show(self, msg: Message, args: str) -> str:
        """Show a delivery with its attempts, headers and body."""
        ids = parse_ids(args.split())
        if ids is None or len(ids) != 1:
            given = f"; {plain(truncated(args, _LINE))} is none" if args else ""
            raise CommandError(f"Name the id of a delivery{given}.")
        found = await self.host.webhooks.delivery(self.actor(msg), ids[0])
        if found is None:
            raise CommandError(f"There is no delivery {ids[0]}.")
        lines = shown_lines(details(found)[:_MOST_LINES])
        if found.request is not None:
            description, text = body_text(found.request)
            lines += [description, *([fenced(truncated(masker.part(text, 0, 2 * _SHOWN), _SHOWN))] if text else ())]
        return "\n".join(lines)

    @admin_by_default
    @botcmd(syntax="ID … [rate RATE] [force] | [WEBHOOK] [STATE …] [since TIME] [until TIME] [rate RATE] [force]")
    async def delivery_replay(self, msg: Message, args: str) -> str:
        """Run deliveries once more.

        The words of the second form are those of !delivery list. Without a state, failed and dead deliveries run. At most 1000
        run at a time, the latest ones; with a rate such as 2/s or 500/h, one after the other. Those that the source has repeated
        meanwhile run only with force.
        """
        found = await self.host.webhooks.replay(self.actor(msg), _split(args))
        repeated = [f"{one} as {later}" for one, later in found.repeated.items()]
        others = list(map(str, found.others))
        values = {"number": len(found.begun), "repeated": repeated, "others": others, "beginning": beginning}
        return self.render("replayed", values)

    @admin_by_default
    @botcmd(syntax="WEBHOOK")
    async def webhook_show(self, msg: Message, args: str) -> str:
        """Show a webhook, and what has become of its requests.

        The reply has its URL and options, whether it is paused, what !why says about it, and the numbers of a day.

        WEBHOOK is Plugin:method, Plugin, the name of a webhook of a room, or the path of a webhook.
        """
        reports = await self.host.webhooks.webhook(self.actor(msg), _webhook(args))
        for report in reports:
            await self.check_use(msg, args, report.name)
        lines = [line for report in reports for line in report.lines()]
        return "\n".join(shown_lines(lines, _SHOWN)[:_MOST_LINES])

    @admin_by_default
    @botcmd(syntax="[WEBHOOK]")
    async def webhook_pause(self, msg: Message, args: str) -> str:
        """Let the deliveries of a webhook wait.

        Requests are verified, recorded and get 202. They run after !webhook resume, also if the bot restarts meanwhile.
        Without a webhook, the paused webhooks are listed.
        """
        if not args.strip():
            paused = self.host.webhooks.paused(self.actor(msg))
            names = [name for name in paused if await self.may_use(msg, args, name)]
            return f"Paused: {plain(', '.join(names)) or 'none'}."
        return f"Paused {await self._each(msg, args, self.host.webhooks.pause)}."

    @admin_by_default
    @botcmd(syntax="WEBHOOK")
    async def webhook_resume(self, msg: Message, args: str) -> str:
        """Run the deliveries of a paused webhook."""
        return f"Resumed {await self._each(msg, args, self.host.webhooks.resume)}."

    @admin_by_default
    @botcmd(syntax="ID | #ROOM | WEBHOOK | refused")
    async def why(self, msg: Message, args: str) -> str:
        """Explain the state of a delivery, webhook or room.

        ID is that of a delivery or of its request. WEBHOOK is Plugin:method, Plugin or a path. With refused, the last request that was refused is
        explained. A room of one of several networks is named as in libera:#ops.
        """
        explained = await self.host.webhooks.why(self.actor(msg), args.strip())
        lines = [line for one in explained for line in one.lines()]
        return "\n".join(shown_lines(lines, _EXPLAINED)[:_MOST_LINES])

    @admin_by_default
    @botcmd(syntax="[NETWORK]")
    async def message_list(self, msg: Message, args: str) -> str:
        """List the rooms and people for whom messages wait."""
        waiting = await self.host.messages.waiting(self.actor(msg), args.strip())
        lines = [
            f"{network} {one.recipient}: {one.messages}, the oldest of {shown_time(one.oldest_at)}"
            for network, recipients in waiting.items()
            for one in recipients
        ]
        return "\n".join(shown_lines(lines[:_MOST_LINES])) or "No message waits."

    @admin_by_default
    @botcmd(syntax="NETWORK RECIPIENT")
    async def message_drop(self, msg: Message, args: str) -> str:
        """Drop what waits for a room or person.

        The names are those of !message list.
        """
        network, _, recipient = args.strip().partition(" ")
        number = await self.host.messages.drop(self.actor(msg), network, recipient.strip())
        return f"Dropped {number} {'message' if number == 1 else 'messages'}."

    async def _each(self, msg: Message, args: str, change: Callable[[Actor, str], Awaitable[None]]) -> str:
        """Change the webhooks of a name or path. Return their names. It may be that of an inactive plugin."""
        by, name = self.actor(msg), _webhook(args)
        names = self.host.webhooks.named(name, [*self.host.webhooks.paused(by), *([name] if ":" in name else ())])
        for webhook in names:
            await self.check_use(msg, args, webhook)
        for webhook in names:
            await change(by, webhook)
        return plain(", ".join(names))


def _split(args: str) -> list[str]:
    try:
        return shlex.split(args)
    except ValueError as error:
        raise CommandError(f"{plain(str(error))}.") from error


def _webhook(args: str) -> str:
    """Return the only word. Raises CommandError if there are more or none."""
    words = _split(args)
    if len(words) != 1:
        raise CommandError("Name a webhook, as Plugin:method, a plugin, or a webhook of a room, as in `webhook list`.")
    return words[0]
