from errklein import FLOW_END, BotPlugin, FlowRoot, botcmd, botflow


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

    @botflow
    def release(self, flow: FlowRoot):
        """Build, test and ship a branch."""
        built = flow.connect("build", auto_trigger=True)
        tested = built.connect("run_tests", predicate=lambda ctx: ctx["branch"] == "main")
        tested.connect("ship").connect(FLOW_END)
        tested.connect(built)
