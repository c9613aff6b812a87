import hmac

import flask

from errklein import BotPlugin, webhook


class Signed(BotPlugin):
    def get_configuration_template(self):
        return {"SECRET": "change me"}

    @webhook(methods=["POST"], raw=True)
    def signed(self, request):
        self.verify(request)
        return "accepted\n"

    @webhook(methods=["POST"], form_param="payload")
    def signed_form(self, payload):
        self.verify(flask.request)
        return "accepted\n"

    def verify(self, request):
        if not self.config:
            flask.abort(503, "The plugin has no secret yet.")
        secret = self.config["SECRET"].encode()
        digest = hmac.digest(secret, request.get_data(), "sha256").hex()
        signature = request.headers.get("X-Hub-Signature-256", "")
        if not hmac.compare_digest(f"sha256={digest}".encode(), signature.encode()):
            flask.abort(403, "The signature is wrong.")
