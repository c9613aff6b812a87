from flask import abort

from errklein import BotPlugin, webhook


class GitHub(BotPlugin):
    @webhook("/github", methods=["POST"], form_param="payload")
    def notification(self, payload):
        try:
            repository = payload["repository"]["name"]
        except (TypeError, KeyError):
            abort(400, "The field 'payload' must be JSON with the name of a repository.")
        for room in self.bot_config.CHATROOM_PRESENCE:
            self.send(self.build_identifier(room), f"Commit on `{repository}`!")
