from errklein import BotPlugin, botmatch, re_botcmd


class Tickets(BotPlugin):
    """Posts links to tickets that are mentioned."""

    @botmatch(r"#(\d+)")
    def mentioned(self, message, match):
        """Post the link to a ticket mentioned in any message."""
        return f"https://tickets.example/{match[1]}"

    @re_botcmd(pattern=r"^assign #(\d+) to (\w+)$")
    def assign(self, message, match):
        """Assign a ticket: !assign #12 to Ada"""
        return f"Ticket {match[1]} is assigned to {match[2]}."
