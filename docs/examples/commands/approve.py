from errklein import BotPlugin, botcmd


class Approve(BotPlugin):
    """Releases what somebody else has approved."""

    @botcmd
    async def release(self, message, args):
        """Release a version after an approval: !release 1.2"""
        answer = await self.choose(message, f"Release {args}?", ["yes", "no"], who="@admin", timeout=600)
        if answer == "no":
            return f"{answer.by.person} doesn't want {args} to be released."
        return f"Released {args}."
