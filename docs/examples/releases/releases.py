from errklein import BotPlugin, botcmd


class Releases(BotPlugin):
    """Builds, tests and ships."""

    @botcmd
    def build(self, msg, args):
        """Build a branch."""
        if args:
            msg.ctx["branch"] = args
        return f"{msg.ctx['branch']} is built."

    @botcmd(flow_only=True)
    def run_tests(self, msg, args):
        """Test what was built."""
        msg.ctx["tested"] = True

    @botcmd(flow_only=True)
    def ship(self, msg, args):
        """Ship what was tested."""
        return f"{msg.ctx['branch']} is shipped."
