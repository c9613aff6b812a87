from errklein import BotPlugin, botcmd


class Notes(BotPlugin):
    """Keeps a note of each person."""

    @botcmd
    def note(self, message, args):
        """Keep a note: !note water the plants"""
        self[message.frm.person] = args
        return "Noted."

    async def callback_forget_person(self, person):
        if person.person not in self:
            return None
        await self.store.delete(person.person)
        return "1 note removed"
