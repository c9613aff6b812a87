from errklein import BotPlugin, ValidationException, botcmd


class Paging(BotPlugin):
    """Tells whoever is on call that he was spoken of."""

    def get_configuration_template(self):
        return {"ON_CALL": "@alice", "REMIND_AFTER": 600}

    def configure(self, configuration):
        # What isn't configured is as in the template.
        super().configure({**self.get_configuration_template(), **(configuration or {})})

    def check_configuration(self, configuration):
        if configuration.get("REMIND_AFTER", 600) < 60:
            raise ValidationException("REMIND_AFTER: expected 60 seconds or more")

    def activate(self):
        super().activate()
        self.start_poller(self.config["REMIND_AFTER"], self.remind)

    def callback_message(self, message):
        if "on call" in message.body and not message.body.startswith(self._bot.prefix):
            with self.mutable("calls", []) as calls:
                calls.append(message.body)
            self.send(self.build_identifier(self.config["ON_CALL"]), f"{message.frm}: {message.body}")

    def remind(self):
        calls = len(self.get("calls", []))
        if calls:
            self.send(self.build_identifier(self.config["ON_CALL"]), f"There are {calls} calls.")

    @botcmd(admin_only=True)
    def calls_done(self, msg, args):
        """Forget the calls that there were."""
        self["calls"] = []
        return "Good."
