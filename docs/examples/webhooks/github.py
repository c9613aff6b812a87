from errklein import BotPlugin, webhook


class GitHub(BotPlugin):
    @webhook("/github", form_param="payload")
    def notification(self, payload):
        text = f"Commit on `{payload['repository']['name']}`!"
        for room in self.bot_config.CHATROOM_PRESENCE:
            self.send(self.build_identifier(room), text)
