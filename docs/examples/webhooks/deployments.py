from flask import abort

from errklein import BotPlugin, webhook


class Deployments(BotPlugin):
    @webhook(methods=["POST"])
    def deployments(self, payload):
        if not isinstance(payload, dict) or "service" not in payload:
            abort(400, "The body must be a JSON object with the key 'service'.")
        text = f"Deployed `{payload['service']}`"
        for room in self.bot_config.CHATROOM_PRESENCE:
            self.send(self.build_identifier(room), text)
        return {"accepted": True}
