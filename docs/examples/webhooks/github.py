from errklein import BotPlugin, webhook


class GitHub(BotPlugin):
    @webhook("/github", form_param="payload")
    def notification(self, payload):
        for room in self.bot_config.CHATROOM_PRESENCE:
            self.send(self.build_identifier(room), f"Commit on `{payload['repository']['name']}`!")
