from errklein import BotPlugin, botcmd


class Releases(BotPlugin):
    """Builds, tests and ships branches."""

    @botcmd
    def build(self, message, args):
        """Build a branch: !build main"""
        if args:
            message.ctx["branch"] = args
        return f"{message.ctx['branch']} is built."

    @botcmd(flow_only=True)
    def run_tests(self, message, args):
        """Test the built branch."""
        message.ctx["tested"] = True

    @botcmd(flow_only=True)
    def ship(self, message, args):
        """Ship the tested branch."""
        return f"{message.ctx['branch']} is shipped."
