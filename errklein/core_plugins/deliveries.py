"""The commands `!delivery list`, `show` and `replay`, `!webhook show`, `pause` and `resume`, `!message list` and `drop`, and `!why`;
and `!webhook new`, `set`, `rotate`, `move` and `remove`, which make and change webhooks of rooms without a plugin."""

from __future__ import annotations

import shlex
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace

from errklein.bot import MadeWebhook
from errklein.chat import Message, RoomOccupant
from errklein.commands import CommandError, also_in_rooms
from errklein.commands.operations import Actor
from errklein.config import SecretError
from errklein.core_plugins import CorePlugin, admin_command, shown_lines
from errklein.database import StorageError
from errklein.dispatch import name_of
from errklein.dispatch.replies import OperatorConsole
from errklein.ports.chat import ManagesRooms
from errklein.ports.journal import JournalError
from errklein.sources import known_sources
from errklein.text import beginning, code, fenced, plain, truncated
from errklein.text.masking import masker
from errklein.webhooks.delivery_words import InvalidWords, parse_ids
from errklein.webhooks.exported import body_text, details, shown_time
from errklein.webhooks.option_values import HookError

_LINE = 300
_SHOWN = 2000
_EXPLAINED = 1000
_MOST_LINES = 100  # the number of lines of a reply. More would hold the reactor for too long.


_NEW = "webhook new SOURCE [NAME] [in ROOM] [signed] [expires TIME]"


class Deliveries(CorePlugin):
    """List, show, replay and explain the deliveries of webhooks, and what waits to be sent."""

    refusals = JournalError, InvalidWords

    @admin_command(
        syntax="[WEBHOOK] [STATE …] [since TIME] [until TIME] [status STATUS] [answered STATUS] [reason TEXT] [source-id ID] [limit COUNT] [before ID] [grouped]",
        aliases=("deliveries",),
    )
    async def delivery_list(self, msg: Message, args: str) -> str:
        """List the latest deliveries of webhooks, or groups of them.

        WEBHOOK is Plugin:method, Plugin, the name of a webhook of a room, or a path. A state is received, running, retry, done, dead, failed,
        duplicate or refused. A time is a duration such as 10min, 2h or 3d, or an ISO date. With grouped, deliveries with the
        same reason are shown together, with the ids to replay, or those that the source must send again."""
        page = await self.host.webhooks.deliveries(self.actor(msg), _split(args), _MOST_LINES)
        lines = shown_lines(page.lines(), _SHOWN if page.is_grouped else _LINE)
        if page.older and not page.is_grouped:
            lines.append(f"Older ones: {code(f'{self.host.prefix}delivery list {page.older}')}")
        return "\n".join(lines) or "No delivery matches."

    @admin_command(hidden=True)
    async def delivery(self, msg: Message, args: str) -> str:
        """Refuse a command without an action, and name the actions."""
        prefix, words = self.host.prefix, args.split()
        if parse_ids(words) is not None:
            raise CommandError(f"The command is {code(f'{prefix}delivery show {words[0]}')}.")
        actions = ", ".join(code(f"{prefix}delivery {action}") for action in ("list", "show ID", "replay ID"))
        raise CommandError(f"Name an action: {actions}.")

    @admin_command(syntax="ID")
    async def delivery_show(self, msg: Message, args: str) -> str:
        """Show a delivery with its attempts, headers and body."""
        ids = parse_ids(args.split())
        if ids is None or len(ids) != 1:
            given = f"; {plain(truncated(args, _LINE))} is none" if args else ""
            raise CommandError(f"Name the id of a delivery{given}.")
        if (found := await self.host.webhooks.delivery(self.actor(msg), ids[0])) is None:
            raise CommandError(f"There is no delivery {ids[0]}.")
        lines = shown_lines(details(found)[:_MOST_LINES])
        if found.request is not None:
            description, text = body_text(found.request)
            lines += [description, *([fenced(truncated(masker.part(text, 0, 2 * _SHOWN), _SHOWN))] if text else ())]
        return "\n".join(lines)

    @admin_command(
        syntax="ID … [rate RATE] [force] | [WEBHOOK] [STATE …] [since TIME] [until TIME] [rate RATE] [force]"
    )
    async def delivery_replay(self, msg: Message, args: str) -> str:
        """Run deliveries once more.

        The words of the second form are those of !delivery list. Without a state, failed and dead deliveries run. At most 1000
        run at a time, the latest ones; with a rate such as 2/s or 500/h, one after the other. Those that the source has repeated
        meanwhile run only with force."""
        found = await self.host.webhooks.replay(self.actor(msg), _split(args))
        repeated = [f"{one} as {later}" for one, later in found.repeated.items()]
        others = list(map(str, found.others))
        values = {"number": len(found.begun), "repeated": repeated, "others": others, "beginning": beginning}
        return self.render("replayed", values)

    @admin_command(syntax="WEBHOOK")
    async def webhook_show(self, msg: Message, args: str) -> str:
        """Show a webhook, and what has become of its requests.

        The reply has its URL and options, whether it is paused, what !why says about it, and the numbers of a day.

        WEBHOOK is Plugin:method, Plugin, the name of a webhook of a room, or the path of a webhook."""
        reports = await self.host.webhooks.webhook(self.actor(msg), _webhook(args))
        for report in reports:
            await self.check_use(msg, args, report.name)
        lines = [line for report in reports for line in report.lines()]
        return "\n".join(shown_lines(lines, _SHOWN)[:_MOST_LINES])

    @admin_command(syntax="[WEBHOOK]")
    async def webhook_pause(self, msg: Message, args: str) -> str:
        """Let the deliveries of a webhook wait.

        Requests are verified, recorded and get 202. They run after !webhook resume, also if the bot restarts meanwhile.
        Without a webhook, the paused webhooks are listed."""
        if not args.strip():
            paused = self.host.webhooks.paused(self.actor(msg))
            names = [name for name in paused if await self.may_use(msg, args, name)]
            return f"Paused: {plain(', '.join(names)) or 'none'}."
        return f"Paused {await self._each(msg, args, self.host.webhooks.pause)}."

    @admin_command(syntax="WEBHOOK")
    async def webhook_resume(self, msg: Message, args: str) -> str:
        """Run the deliveries of a paused webhook."""
        return f"Resumed {await self._each(msg, args, self.host.webhooks.resume)}."

    @admin_command(syntax="ID | #ROOM | WEBHOOK | refused")
    async def why(self, msg: Message, args: str) -> str:
        """Explain the state of a delivery, webhook or room.

        ID is that of a delivery or of its request. WEBHOOK is Plugin:method, Plugin or a path. With refused, the last request that was refused is
        explained. A room of one of several networks is named as in libera:#ops."""
        lines = [line for one in await self.host.webhooks.why(self.actor(msg), args.strip()) for line in one.lines()]
        return "\n".join(shown_lines(lines, _EXPLAINED)[:_MOST_LINES])

    @admin_command(syntax="[NETWORK]")
    async def message_list(self, msg: Message, args: str) -> str:
        """List the rooms and people for whom messages wait."""
        waiting = await self.host.messages.waiting(self.actor(msg), args.strip())
        lines = [
            f"{network} {one.recipient}: {one.messages}, the oldest of {shown_time(one.oldest_at)}"
            for network, recipients in waiting.items()
            for one in recipients
        ]
        return "\n".join(shown_lines(lines[:_MOST_LINES])) or "No message waits."

    @admin_command(syntax="NETWORK RECIPIENT")
    async def message_drop(self, msg: Message, args: str) -> str:
        """Drop what waits for a room or person.

        The names are those of !message list."""
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


class Webhooks(CorePlugin):
    """Make, change and remove webhooks of rooms."""

    refusals = HookError, SecretError, StorageError

    def refusal(self, error: Exception) -> CommandError:
        text = str(super().refusal(error))
        return CommandError(text[:1].upper() + text[1:])

    @also_in_rooms
    @admin_command(historize=False, syntax=_NEW.removeprefix("webhook new "))
    async def webhook_new(self, msg: Message, args: str) -> str:
        """Make a webhook that shows in a room what a service sends.

        It is for the room of the command, or for the one that is named. Its address, and what to enter at the source, are in the
        reply in private. Without a source, the sources are listed. By default, its name is that of the source. With signed, the
        source signs its requests, instead of a token in the address. TIME is such as 90d, or a date."""
        words, options, signed = _words(args, self.host.prefix)
        if not words:
            return f"Usage: {self.host.prefix}{_NEW}\n\nSources: {', '.join(map(code, known_sources()))}."
        room = self._room(msg, options.get("in", ""))
        if not await self.may_use(msg, args, "", room):
            refused = f"not for {self._shown(msg, room)}"
            raise CommandError(f"You may make webhooks only for rooms that you are in, {refused}.")
        name, expires = "".join(words[1:]), options.get("expires", "")
        made = await self.host.room_webhooks.create(self._maker(msg), words[0], room, name, signed, expires)
        return self._given(msg, made, f"Made {code(made.webhook.name)} for {self._shown(msg, room)}")

    @also_in_rooms
    @admin_command(historize=False, syntax="NAME OPTION VALUE")
    async def webhook_set(self, msg: Message, args: str) -> str:
        """Change an option of a webhook of a room.

        OPTION is events, the patterns of those that are shown; text, with placeholders such as {title}; expires, such as 90d or
        never; messages, such as 20/min, beyond which they are only counted; rate, that of requests; or secret, which the source has made.
        """
        name, option, value = (*args.split(None, 2), "", "", "")[:3]
        if not option:
            raise CommandError(f"Usage: {self.host.prefix}webhook set NAME OPTION VALUE")
        await self.check_use(msg, args, name)
        if option == "secret" and not (msg.is_direct and value and self._takes_secrets(msg)):
            read = " Make a new one at the source first, since others may have read this one." if value else ""
            shell = code(f"errklein webhook set {name} secret")
            raise CommandError(f"Run {shell} on the bot's machine, which reads the secret from standard input.{read}")
        await self.host.room_webhooks.change(self._maker(msg), name, option, value)
        return f"Changed {code(option)} of {code(name)}."

    @also_in_rooms
    @admin_command(historize=False, syntax="NAME")
    async def webhook_rotate(self, msg: Message, args: str) -> str:
        """Make a new address or secret for a webhook of a room.

        The one before stays valid for a day."""
        [name] = _exactly(args, 1, f"{self.host.prefix}webhook rotate NAME")
        await self.check_use(msg, args, name)
        if not self.reads_alone(msg):
            # Nobody would know the new address, and only the last one before stays valid.
            raise CommandError(f"Nothing has changed. {_by_shell(name)}")
        made = await self.host.room_webhooks.rotate(self._maker(msg), name)
        return self._given(msg, made, f"Rotated {code(name)}", "What was valid before stays so for a day.")

    @also_in_rooms
    @admin_command(historize=False, syntax="NAME ROOM")
    async def webhook_move(self, msg: Message, args: str) -> str:
        """Send the messages of a webhook to another room from now on."""
        name, given = _exactly(args, 2, f"{self.host.prefix}webhook move NAME ROOM")
        room = self._room(msg, given)
        await self.check_use(msg, args, name, room)
        await self.host.room_webhooks.move(self._maker(msg), name, room)
        return f"Moved {code(name)} to {self._shown(msg, room)}."

    @also_in_rooms
    @admin_command(historize=False, syntax="NAME")
    async def webhook_remove(self, msg: Message, args: str) -> str:
        """Remove a webhook of a room."""
        [name] = _exactly(args, 1, f"{self.host.prefix}webhook remove NAME")
        await self.check_use(msg, args, name)
        await self.host.room_webhooks.remove(self._maker(msg), name)
        return f"Removed {code(name)}."

    def _maker(self, msg: Message) -> Actor:
        return replace(self.actor(msg), name=name_of(msg.frm))

    def _room(self, msg: Message, given: str) -> str:
        network, networks = self.host.networks.of(msg).network, self.host.networks.backends
        if given:
            return given if given.partition(":")[0] in networks else f"{network}:{given}"
        if not msg.is_group:
            raise CommandError("Use this command in the room of the webhook, or add `in ROOM`.")
        return f"{network}:{msg.frm.room if isinstance(msg.frm, RoomOccupant) else msg.to}"

    def _shown(self, msg: Message, room: str) -> str:
        """Return the name of a room, an alias that is known rather than the id."""
        network, name = self.host.networks.split(room)
        if isinstance(network, ManagesRooms):
            with suppress(ValueError):
                aliases = network.build_identifier(name).access_names("allow")
                name = next((alias for alias in aliases if alias != name), name)
        return plain(name if network is self.host.networks.of(msg) else f"{network.network}:{name}")

    def _takes_secrets(self, msg: Message) -> bool:
        # A console keeps the lines that were typed.
        network = self.host.networks.of(msg)
        return network.is_encrypted and not isinstance(network, OperatorConsole)

    def _given(self, msg: Message, made: MadeWebhook, done: str, more: str = "") -> str:
        """Send the address and the secret in private, if only the sender reads them. Return the reply to the command."""
        is_secret = bool(made.secret or made.webhook.token)
        if is_secret and not self.reads_alone(msg):
            return f"{done}. {_by_shell(made.webhook.name)}"
        lines = made.lines(self.host.prefix if self._takes_secrets(msg) else "")
        text = "\n".join([f"{done}.", *lines, *filter(None, [more])])
        network = self.host.networks.of(msg)
        reply = network.build_reply(msg, text, private=True)
        if is_secret:
            # The journal must not keep it.
            reply.unstored = True
        # Not by a part of the bot that also shows it to plugins.
        network.send_message(reply)
        return "" if msg.is_direct else f"{done}; its address is in your private messages."


def _by_shell(name: str) -> str:
    shell = code(f"errklein webhook rotate {name}")
    return f"Run {shell} on the bot's machine: it prints the address, which others could read here."


def _words(args: str, prefix: str) -> tuple[list[str], dict[str, str], bool | None]:
    """Return the source and the name, the values of `in` and `expires`, and whether `signed` is among the words."""
    words, options, others = iter(args.split()), dict[str, str](), list[str]()
    for word in words:
        if word in ("in", "expires"):
            options[word] = next(words, "")
        else:
            others.append(word)
    signed = True if "signed" in others else None
    names = [word for word in others if word != "signed"]
    if len(names) > 2 or "" in options.values():
        raise CommandError(f"Usage: {prefix}{_NEW}")
    return names, options, signed


def _exactly(args: str, count: int, usage: str) -> Sequence[str]:
    words = args.split()
    if len(words) != count:
        raise CommandError(f"Usage: {usage}")
    return words
