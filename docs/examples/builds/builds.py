from errklein import BotPlugin, botcmd, webhook


class Builds(BotPlugin):
    """Tells rooms how builds end."""

    @webhook("/builds/<project>", methods=["POST"])
    def build_ended(self, payload, project):
        state = payload["state"]
        self[project] = state
        for room in self.bot_config.CHATROOM_PRESENCE:
            self.send(self.build_identifier(room), f"{project}: {state}")
        return "thank you\n"

    @botcmd
    def build(self, message, args):
        """Tell how the last build of a project ended: !build errklein"""
        return self.get(args, "never built")
