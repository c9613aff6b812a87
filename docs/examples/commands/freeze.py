from errklein import BotPlugin, botcmd, cmdfilter


class Freeze(BotPlugin):
    """Blocks deployments while they are frozen."""

    frozen = False

    @botcmd(admin_only=True)
    def freeze(self, message, args):
        """Block deployments: !freeze, or allow them again: !freeze off"""
        self.frozen = args != "off"
        return "Deployments are frozen." if self.frozen else "Deployments are allowed."

    @cmdfilter
    def block_deployments(self, message, command, args, dry_run):
        """Block the command `deploy` during a freeze."""
        if command == "deploy" and self.frozen:
            if not dry_run:
                self.send(message.frm, "Deployments are frozen.")
            return None, None, None
        return message, command, args
