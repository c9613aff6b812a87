from errklein import BotPlugin, botcmd


class Tables(BotPlugin):
    """Stores CSV files that people send."""

    def callback_stream(self, stream):
        if stream.name.endswith(".csv"):
            stream.accept()
            self["table"] = stream.read().decode()
            stream.success()
        else:
            stream.reject()

    def callback_reaction(self, reaction):
        self["last reaction"] = f"{reaction.reaction_name} by {reaction.reactor}"

    @botcmd
    def rows(self, message, args):
        """Show the number of rows in the stored file."""
        return str(len(self.get("table", "").splitlines()))
