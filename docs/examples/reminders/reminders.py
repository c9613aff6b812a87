from errklein import BotPlugin, CommandError, botcmd


class Reminders(BotPlugin):
    """Repeats what is to be done until it is done."""

    def activate(self):
        super().activate()
        self.start_poller(3600, self.remind)

    @botcmd
    def remember(self, message, args):
        """Add a task: !remember water the plants"""
        with self.mutable("tasks", []) as tasks:
            tasks.append(args)
        return f"{len(self['tasks'])} to do."

    @botcmd
    def done(self, message, args):
        """Remove a task: !done water the plants"""
        with self.mutable("tasks", []) as tasks:
            if args not in tasks:
                raise CommandError("There is no such task.")
            tasks.remove(args)
        return "Done."

    async def remind(self):
        for task in self.get("tasks", []):
            await self.send(self.build_identifier("#todo"), f"To do: {task}")
