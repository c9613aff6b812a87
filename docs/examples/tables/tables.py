from errklein import BotPlugin, botcmd


class Tables(BotPlugin):
    """Takes tables that people send."""

    def callback_stream(self, stream):
        if stream.name.endswith(".csv"):
            stream.accept()
            self["table"] = stream.read().decode()
            stream.success()
        else:
            stream.reject()

    def callback_reaction(self, reaction):
        self["liked by"] = str(reaction.reactor)

    @botcmd
    def rows(self, msg, args):
        """Tell how many rows there are."""
        return str(len(self.get("table", "").splitlines()))

    @botcmd
    def table(self, msg, args):
        """Send the table to whoever asks."""
        self.send_card("Who has what.", in_reply_to=msg, title="The table", fields=(("rows", self.rows(msg, "")),))
