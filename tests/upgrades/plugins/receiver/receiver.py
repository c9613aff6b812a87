"""A plugin whose deliveries end in each state. If the setting HANDLED is a function, they succeed, and it is called."""

import threading

from errbot import BotPlugin, webhook

from errklein.verify import github


class Receiver(BotPlugin):
    """Receives webhooks."""

    def handle(self, name, payload):
        """Handle the delivery, and send a message about it."""
        handled = getattr(self.bot_config, "HANDLED", None)
        if handled is not None:
            handled(name, payload)
            return "fine"
        if name == "running":
            threading.Event().wait()
        if name in ("failed", "dead", "retry"):
            raise RuntimeError(f"no {name}")
        self.send(self.build_identifier("#builds"), f"{name}: {payload['number']}")
        return "fine"

    @webhook(methods=["POST"])
    def done(self, payload):
        return self.handle("done", payload)

    @webhook(methods=["POST"])
    def failed(self, payload):
        return self.handle("failed", payload)

    @webhook(methods=["POST"], ack="now")
    def later(self, payload):
        return self.handle("later", payload)

    @webhook(methods=["POST"], ack="now", attempts=1)
    def dead(self, payload):
        return self.handle("dead", payload)

    @webhook(methods=["POST"], ack="now", attempts=9)
    def retry(self, payload):
        return self.handle("retry", payload)

    @webhook(methods=["POST"], ack="now", ordered=True)
    def running(self, payload):
        return self.handle("running", payload)

    @webhook(methods=["POST"], verify=github(secret="env:UPGRADES_SECRET"), dedupe="id")
    def signed(self, payload):
        return self.handle("signed", payload)
