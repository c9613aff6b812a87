import time

import treq
from twisted.internet.defer import inlineCallbacks

from errklein import BotPlugin, on_reactor, webhook

URL = "https://example.com/"


class Places(BotPlugin):
    """The kinds of handlers, and where each runs."""

    @webhook
    def blocking(self, payload):
        # In a thread: it may block.
        time.sleep(0.001)
        return "done"

    @webhook
    async def coroutine(self, payload):
        # On the reactor: await Deferreds, and asyncio's futures too.
        response = await treq.get(URL)
        return await response.text()

    @webhook
    @inlineCallbacks
    def generator(self, payload):
        # On the reactor, as Twisted's own generators.
        response = yield treq.get(URL)
        return (yield response.text())

    @webhook(raw=True)
    def deferred(self, request):
        # On the reactor, since it names treq.
        asking = treq.get(URL)
        asking.addCallback(treq.text_content)
        # The request is this one still, whenever the answer comes.
        asking.addCallback(lambda text: f"{text} for {request.headers['X-Name']}")
        return asking

    @webhook
    @on_reactor
    def quick(self, payload):
        # On the reactor because it is marked: it must not block.
        return "pong"

    @webhook(threaded=True)
    def marked_too(self, payload):
        # In a thread because it is marked.
        return "done"
