from errklein import BotPlugin, botcmd


class Builds(BotPlugin):
    """Reports builds to chat rooms."""

    @botcmd
    def build(self, message, args):
        """Show the status of a project's last build: !build shop"""
        return self.get(args, "no build yet")
