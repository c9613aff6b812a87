import time

from twisted.internet.defer import inlineCallbacks

from errklein import BotPlugin, on_reactor, webhook

URL = "https://example.com/"


class Places(BotPlugin):
    """Shows where handlers run."""

    @webhook
    def blocking(self, payload):
        # In a thread, because it is a plain function: it may block.
        time.sleep(0.001)
        return "done"

    @webhook
    async def coroutine(self, payload):
        # On the reactor: it may await Deferreds and asyncio's futures.
        response = await self.http.get(URL)
        return await response.text()

    @webhook
    @inlineCallbacks
    def generator(self, payload):
        # On the reactor, as Twisted's own generators.
        response = yield self.http.get(URL)
        return (yield response.text())

    @webhook
    def deferred(self, payload):
        # On the reactor, because it names self.http.
        return self.http.get(URL).addCallback(lambda response: response.text())

    @webhook
    @on_reactor
    def quick(self, payload):
        # On the reactor, because it is marked: it must not block.
        return "pong"

    @webhook(threaded=True)
    def marked(self, payload):
        # In a thread, because it is marked.
        return "done"
