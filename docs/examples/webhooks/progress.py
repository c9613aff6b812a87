import asyncio

from errklein import BotPlugin, webhook


class Progress(BotPlugin):
    @webhook
    def lines(self, payload):
        yield "one\n"
        yield "two\n"

    @webhook
    async def progress(self, payload):
        for percent in (0, 50, 100):
            yield f"{percent} %\n"
            await asyncio.sleep(1)
