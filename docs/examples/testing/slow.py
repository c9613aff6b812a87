import asyncio

from errklein import BotPlugin, webhook


class Slow(BotPlugin):
    """Responds after two seconds."""

    @webhook
    async def slow(self, payload):
        await asyncio.sleep(2)
        return "done"
