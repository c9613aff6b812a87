from errklein import BotPlugin, botcmd, webhook


class Visits(BotPlugin):
    """Counts the visits of each page."""

    @webhook("/visits/<page>")
    async def visit(self, payload, page):
        number = await self.store.update(page, lambda number: number + 1, 0)
        await self.store.set("last", page)
        return f"{number}"

    @botcmd
    def visits(self, message, args):
        """Show the visits of a page: !visits start"""
        return f"{args}: {self.get(args, 0)}, last: {self.get('last', 'none')}"
