from errklein import BotPlugin, botcmd


class Reminders(BotPlugin):
    """Repeats what is still to be done, until it is done."""

    def get_configuration_template(self):
        return {"ROOM": "#todo", "MINUTES": 60}

    def configure(self, configuration):
        super().configure({**self.get_configuration_template(), **(configuration or {})})

    def activate(self):
        super().activate()
        self.start_poller(self.config["MINUTES"] * 60, self.remind)

    @botcmd
    def remember(self, message, args):
        """Remember something: !remember water the plants"""
        with self.mutable("things", []) as things:
            things.append(args)
        return f"That makes {len(self['things'])}."

    @botcmd(split_args_with=None)
    def done(self, message, args):
        """Forget the first thing, or the one of that number: !done 2"""
        with self.mutable("things", []) as things:
            number = int(args[0]) if args else 1
            return f"Done: {things.pop(number - 1)}"

    async def remind(self):
        for thing in self.get("things", []):
            await self.send(self.build_identifier(self.config["ROOM"]), f"Still to be done: {thing}")
