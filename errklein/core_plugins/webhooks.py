"""The commands `!webhook new`, `set`, `rotate`, `move` and `remove`, which make and change webhooks of rooms without a plugin."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from errklein.bot import MadeWebhook
from errklein.chat import Message, RoomOccupant
from errklein.commands import CommandError, admin_by_default, also_in_rooms, botcmd
from errklein.commands.operations import Actor
from errklein.config import SecretError
from errklein.core_plugins import CorePlugin
from errklein.database import StorageError
from errklein.dispatch import name_of
from errklein.dispatch.replies import OperatorConsole
from errklein.ports.chat import ManagesRooms
from errklein.sources import known_sources
from errklein.text import code, plain
from errklein.webhooks.option_values import HookError

_NEW = "webhook new SOURCE [NAME] [in ROOM] [signed] [expires TIME]"


class Webhooks(CorePlugin):
    """Make, change and remove webhooks of rooms."""

    refusals = HookError, SecretError, StorageError

    def refusal(self, error: Exception) -> CommandError:
        """Return the error as a sentence."""
        text = str(super().refusal(error))
        return CommandError(text[:1].upper() + text[1:])

    @also_in_rooms
    @admin_by_default
    @botcmd(historize=False, syntax=_NEW.removeprefix("webhook new "))
    async def webhook_new(self, msg: Message, args: str) -> str:
        """Make a webhook that shows in a room what a service sends.

        It is for the room of the command, or for the one that is named. Its address, and what to enter at the source, are in the
        reply in private. Without a source, the sources are listed. By default, its name is that of the source. With signed, the
        source signs its requests, instead of a token in the address. TIME is such as 90d, or a date.
        """
        words, options, signed = _words(args, self.host.prefix)
        if not words:
            return f"Usage: {self.host.prefix}{_NEW}\n\nSources: {', '.join(map(code, known_sources()))}."
        room = self._room(msg, options.get("in", ""))
        if not await self.may_use(msg, args, "", room):
            raise CommandError(
                f"You may make webhooks only for rooms that you are in, not for {self._shown(msg, room)}."
            )
        name, expires = "".join(words[1:]), options.get("expires", "")
        made = await self.host.room_webhooks.create(self._maker(msg), words[0], room, name, signed, expires)
        return self._given(msg, made, f"Made {code(made.webhook.name)} for {self._shown(msg, room)}")

    @also_in_rooms
    @admin_by_default
    @botcmd(historize=False, syntax="NAME OPTION VALUE")
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
    @admin_by_default
    @botcmd(historize=False, syntax="NAME")
    async def webhook_rotate(self, msg: Message, args: str) -> str:
        """Make a new address or secret for a webhook of a room.

        The one before stays valid for a day.
        """
        [name] = _exactly(args, 1, f"{self.host.prefix}webhook rotate NAME")
        await self.check_use(msg, args, name)
        if not self.reads_alone(msg):
            # Nobody would know the new address, and only the last one before stays valid.
            raise CommandError(f"Nothing has changed. {_by_shell(name)}")
        made = await self.host.room_webhooks.rotate(self._maker(msg), name)
        return self._given(msg, made, f"Rotated {code(name)}", "What was valid before stays so for a day.")

    @also_in_rooms
    @admin_by_default
    @botcmd(historize=False, syntax="NAME ROOM")
    async def webhook_move(self, msg: Message, args: str) -> str:
        """Send the messages of a webhook to another room from now on."""
        name, given = _exactly(args, 2, f"{self.host.prefix}webhook move NAME ROOM")
        room = self._room(msg, given)
        await self.check_use(msg, args, name, room)
        await self.host.room_webhooks.move(self._maker(msg), name, room)
        return f"Moved {code(name)} to {self._shown(msg, room)}."

    @also_in_rooms
    @admin_by_default
    @botcmd(historize=False, syntax="NAME")
    async def webhook_remove(self, msg: Message, args: str) -> str:
        """Remove a webhook of a room."""
        [name] = _exactly(args, 1, f"{self.host.prefix}webhook remove NAME")
        await self.check_use(msg, args, name)
        await self.host.room_webhooks.remove(self._maker(msg), name)
        return f"Removed {code(name)}."

    def _maker(self, msg: Message) -> Actor:
        return replace(self.actor(msg), name=name_of(msg.frm))

    def _room(self, msg: Message, given: str) -> str:
        """Return the room that is named, or that of the message, with its network."""
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
