from errklein import BotPlugin, botcmd, webhook


class Progress(BotPlugin):
    """Shows the state of each build in one message."""

    @webhook("/progress/<number>", methods=["POST"])
    async def progress(self, payload, number):
        room = self.build_identifier("#builds")
        text = f"Build {number} {payload['state']}."
        sent = await self.store.get(number)
        if sent is None:
            await self.store.set(number, self.send(room, text))
            return
        self.edit(sent, text)
        if payload["state"] == "failed":
            self.send_file(room, payload["log"].encode(), name="build.log", thread=sent)

    @botcmd
    def watch(self, message, args):
        """Take care of the builds: !watch"""
        self.react(message, "👀")
