from errklein import BotPlugin, webhook


class Browsers(BotPlugin):
    @webhook(raw=True)
    def agent(self, request):
        user_agent = request.headers.get("User-Agent", "unknown")
        body = request.get_data()
        return {"agent": user_agent, "method": request.method, "bytes": len(body)}
