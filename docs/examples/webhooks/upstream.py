from twisted.internet.defer import inlineCallbacks

from errklein import BotPlugin, webhook

# A service that is always there to try this out: the bot's own webhook.
URL = "http://127.0.0.1:3141/builds/errklein/12"


class Upstream(BotPlugin):
    @webhook
    async def upstream(self, payload):
        response = await self.http.get(URL, timeout=10)
        build = await response.json()
        return f"the last build is number {build['number']}\n"

    @webhook
    def upstream_deferred(self, payload):
        asking = self.http.get(URL, timeout=10)
        asking.addCallback(lambda response: response.json())
        asking.addCallback(lambda build: f"the last build is number {build['number']}\n")
        return asking

    @webhook
    @inlineCallbacks
    def upstream_generator(self, payload):
        response = yield self.http.get(URL, timeout=10)
        build = yield response.json()
        return f"the last build is number {build['number']}\n"
