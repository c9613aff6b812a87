from errklein import BotPlugin, botcmd
from errklein.chat import RoomError


class Incidents(BotPlugin):
    """Opens a room for each incident."""

    @botcmd
    async def incident(self, message, args):
        """Open a room, and come there: !incident #down the shop is down"""
        name, _, topic = args.partition(" ")
        try:
            await self.join_room(name)
            await self.set_topic(name, topic)
            await self.invite_to_room(name, message.frm)
        except RoomError as error:
            return f"The network refuses: {error}"
        return f"In {name} now: {len(await self.members_of(name))}."
