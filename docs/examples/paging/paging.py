from errklein import BotPlugin, ValidationException, botcmd


class Paging(BotPlugin):
    """Forwards calls to the person on call."""

    def get_configuration_template(self):
        return {"ON_CALL": "@alice", "REPEAT": 600}

    def configure(self, configuration):
        # Missing keys have the template's values.
        super().configure({**self.get_configuration_template(), **(configuration or {})})

    def check_configuration(self, configuration):
        if configuration.get("REPEAT", 600) < 60:
            raise ValidationException("REPEAT must be 60 seconds or more")

    def activate(self):
        super().activate()
        self.calls = []
        self.start_poller(self.config["REPEAT"], self.repeat)

    @botcmd
    def page(self, message, args):
        """Call the person on call: !page the site is down"""
        self.calls.append(f"{message.frm}: {args}")
        self.repeat()
        return "Called."

    @botcmd
    def page_done(self, message, args):
        """Stop repeating the calls."""
        self.calls.clear()
        return "Done."

    def repeat(self):
        for call in self.calls:
            self.send(self.build_identifier(self.config["ON_CALL"]), call)
