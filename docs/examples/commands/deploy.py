from errklein import BotPlugin, botcmd


class Deploy(BotPlugin):
    """Deploys branches."""

    @botcmd
    async def deploy(self, message, args):
        """Deploy a branch; asks for it if it isn't given."""
        branch = args or await self.ask(message, "Which branch?", timeout=60)
        return f"Deploying {branch}."
