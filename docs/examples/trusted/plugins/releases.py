from errbot import BotPlugin, webhook


class Releases(BotPlugin):
    @webhook("/releases")
    def published(self, payload):
        title = payload["release"]["name"].strip()
        for room in self.bot_config.CHATROOM_PRESENCE:
            self.send(self.build_identifier(room), f"Released: {title}")
