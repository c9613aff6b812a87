from errklein import BotPlugin, webhook
from errklein.verify import github


class Signed(BotPlugin):
    @webhook(methods=["POST"], verify=github(secret="env:GH_SECRET"))
    def signed(self, payload):
        return f"{payload['zen']}\n"

    @webhook(methods=["POST"], form_param="payload", verify=github(secret="env:GH_SECRET"))
    def signed_form(self, payload):
        return f"{payload['zen']}\n"
