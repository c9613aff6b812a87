from errklein import BotPlugin, botcmd, webhook


class Builds(BotPlugin):
    """Reports builds to chat rooms."""

    @botcmd
    def build(self, message, args):
        """Show the status of a project's last build: !build shop"""
        return self.get(args, "no build yet")

    @webhook("/builds/<project>", methods=["POST"])
    def report(self, payload, project):
        self[project] = payload["status"]
        text = f"The build of `{project}` has {payload['status']}."
        for room in self.bot_config.CHATROOM_PRESENCE:
            self.send(self.build_identifier(room), text)
        return {"recorded": project}
