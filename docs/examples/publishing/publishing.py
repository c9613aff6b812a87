from errklein import FLOW_END, BotPlugin, FlowRoot, botcmd, botflow


class Publishing(BotPlugin):
    """Publishes drafts after a question."""

    @botcmd
    def draft(self, message, args):
        """Write a draft: !draft Summer"""
        message.ctx["title"] = args
        return f"The draft {args} is written."

    @botcmd(flow_only=True)
    def publish(self, message, args):
        """Publish the draft."""
        return f"{message.ctx['title']} is published."

    @botflow
    def publishing(self, flow: FlowRoot):
        """Write a draft, and publish it."""
        drafted = flow.connect("draft", auto_trigger=True)
        drafted.choose(lambda ctx: f"Publish {ctx['title']}?", {"publish": "publish", "not now": FLOW_END})
