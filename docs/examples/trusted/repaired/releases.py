from errbot import BotPlugin, webhook


class Releases(BotPlugin):
    @webhook("/releases")
    def published(self, payload):
        release = payload["release"]
        title = release["name"] or release["tag_name"]
        for room in self.bot_config.CHATROOM_PRESENCE:
            self.send(self.build_identifier(room), f"Released: {title}")
