"""The commands `!webhook new` and `remove`, which make webhooks of rooms without a plugin."""

from __future__ import annotations

from errklein.bot.room_webhooks import MadeWebhook
from errklein.chat import Message, RoomOccupant
from errklein.commands import CommandError, admin_by_default, also_in_rooms, botcmd
from errklein.commands.operations import Actor
from errklein.config import SecretError
from errklein.core_plugins import CorePlugin
from errklein.dispatch import name_of
from errklein.sources import known_sources
from errklein.text import code, plain
from errklein.webhooks.option_values import HookError


class Webhooks(CorePlugin):
    """Make, change and remove webhooks of rooms."""

    @also_in_rooms
    @admin_by_default
    @botcmd(historize=False, split_args_with=None)
    async def webhook_new(self, msg: Message, args: list[str]) -> str:
        """Make a webhook that shows in this room what a service sends.

        Usage: !webhook new SOURCE [NAME]
        """
        if not args:
            return f"Name a source: {plain(', '.join(known_sources()))}."
        if not isinstance(msg.frm, RoomOccupant):
            raise CommandError("Use this command in the room of the webhook.")
        network = self.host.networks.of(msg)
        room = f"{network.network}:{msg.frm.room}"
        try:
            made = await self.host.room_webhooks.create(Actor(name_of(msg.frm)), args[0], room, "".join(args[1:2]))
        except (HookError, SecretError) as error:
            raise CommandError(plain(str(error))) from error
        self._send_private(msg, made)
        return (
            f"Made {code(made.webhook.name)} for {plain(str(msg.frm.room))}; its address is in your private messages."
        )

    def _send_private(self, msg: Message, made: MadeWebhook) -> None:
        private = [f"URL: {code(made.url)}", *([f"Secret: {code(made.secret)}"] if made.secret else []), *made.setup]
        recipient = self.host.networks.of(msg).build_reply(msg, "", private=True).to
        assert recipient is not None
        self.send(recipient, "\n".join(private))

    @also_in_rooms
    @admin_by_default
    @botcmd(historize=False)
    async def webhook_rotate(self, msg: Message, args: str) -> str:
        """Make a new address or secret for a webhook of a room.

        Usage: !webhook rotate NAME
        """
        try:
            made = await self.host.room_webhooks.rotate(Actor(name_of(msg.frm)), args.strip())
        except (HookError, SecretError) as error:
            raise CommandError(plain(str(error))) from error
        self._send_private(msg, made)
        return f"Rotated {code(args.strip())}; its address is in your private messages."

    @also_in_rooms
    @admin_by_default
    @botcmd(historize=False)
    async def webhook_set(self, msg: Message, args: str) -> str:
        """Change an option of a webhook of a room.

        Usage: !webhook set NAME OPTION VALUE
        """
        name, option, value = (*args.split(None, 2), "", "", "")[:3]
        if option == "secret":
            raise CommandError("A secret can't be set in a chat.")
        try:
            await self.host.room_webhooks.change(Actor(name_of(msg.frm)), name, option, value)
        except HookError as error:
            raise CommandError(plain(str(error))) from error
        return f"Changed {code(option)} of {code(name)}."

    @also_in_rooms
    @admin_by_default
    @botcmd(historize=False)
    async def webhook_move(self, msg: Message, args: str) -> str:
        """Send the messages of a webhook to another room.

        Usage: !webhook move NAME ROOM
        """
        name, room = (*args.split(None, 1), "", "")[:2]
        if not room:
            raise CommandError("Name the webhook and the room.")
        try:
            await self.host.room_webhooks.move(Actor(name_of(msg.frm)), name, room)
        except HookError as error:
            raise CommandError(plain(str(error))) from error
        return f"Moved {code(name)} to {plain(room)}."

    @also_in_rooms
    @admin_by_default
    @botcmd(historize=False)
    async def webhook_remove(self, msg: Message, args: str) -> str:
        """Remove a webhook of a room.

        Usage: !webhook remove NAME
        """
        try:
            await self.host.room_webhooks.remove(Actor(name_of(msg.frm)), args.strip())
        except HookError as error:
            raise CommandError(plain(str(error))) from error
        return f"Removed {code(args.strip())}."
