from errklein import BotPlugin, webhook


class Failing(BotPlugin):
    """Raises an exception for an unknown status."""

    @webhook(methods=["POST"])
    def status(self, payload):
        return {"passed": "green", "failed": "red"}[payload["status"]]
