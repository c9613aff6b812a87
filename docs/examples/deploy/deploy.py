from errklein import BotPlugin, arg_botcmd, botcmd, botmatch, cmdfilter


class Deploy(BotPlugin):
    """Deploys what somebody asks for."""

    frozen = False

    @botcmd(aliases=("d", "ship it"))
    async def deploy(self, msg, args):
        """Deploy a branch."""
        branch = args or await self.ask(msg, "Which branch?", timeout=60)
        return f"Deploying {branch}."

    @arg_botcmd("service")
    @arg_botcmd("--count", type=int, default=2, help="how many")
    def scale(self, msg, service, count):
        """Run more of a service, or fewer."""
        return f"{service} runs {count} times."

    @botmatch(r"#(\d+)")
    def ticket(self, msg, match):
        """Link to a ticket that somebody speaks of."""
        return f"https://example.com/tickets/{match[1]}"

    @cmdfilter
    def freeze(self, msg, cmd, args, dry_run):
        """Block deployments while nothing may change."""
        if self.frozen and cmd == "deploy":
            if not dry_run:
                self.send(msg.frm, "Nothing is deployed now.")
            return None, None, None
        return msg, cmd, args
