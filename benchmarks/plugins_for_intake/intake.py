from twisted.internet import reactor
from twisted.internet.task import deferLater

from errklein import BotPlugin, webhook
from errklein.verify import github

OPTIONS = {"methods": ["POST"], "verify": github(secret="env:INTAKE_SECRET"), "ack": "now", "dedupe": "id"}


class Intake(BotPlugin):
    """Handlers that do little, or wait. Those with OPTIONS are acknowledged before they run."""

    @webhook(**OPTIONS)
    async def now_async(self, payload):
        return "OK"

    @webhook(**OPTIONS)
    def now_plain(self, payload):
        return "OK"

    @webhook(**OPTIONS)
    async def now_slow(self, payload):
        await deferLater(reactor, 5)

    @webhook
    async def after_async(self, payload):
        return "OK"

    @webhook
    def after_plain(self, payload):
        return "OK"
