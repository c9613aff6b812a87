from errklein import BotPlugin, botcmd


class Approve(BotPlugin):
    """Releases what somebody else has approved."""

    @botcmd
    async def release(self, message, args):
        """Release a version after an approval: !release 1.2"""
        admins = self.bot_config.BOT_ADMINS
        answer = await self.choose(message, f"Release {args}?", ["yes", "no"], who=admins, timeout=600)
        if answer == "no":
            return f"{answer.by.person} doesn't want {args} to be released."
        return f"Released {args}."
