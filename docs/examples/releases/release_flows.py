from errklein import FLOW_END, BotFlow, FlowRoot, botflow


class ReleaseFlows(BotFlow):
    @botflow
    def release(self, flow: FlowRoot):
        """Build, test and ship a branch."""
        built = flow.connect("build", auto_trigger=True)
        tested = built.connect("run_tests", predicate=lambda ctx: ctx["branch"] == "main")
        tested.connect("ship").connect(FLOW_END)
        tested.connect(built)
