from errbot import BotPlugin, webhook


class Large(BotPlugin):
    """Handlers of each kind. Raw ones parse the body as JSON and as a form."""

    @webhook
    def plain(self, payload):
        return type(payload).__name__

    @webhook("/async")
    async def asynchronous(self, payload):
        return type(payload).__name__

    @webhook(raw=True)
    def raw(self, request):
        return self.parsed(request)

    @webhook("/raw_async", raw=True)
    async def raw_asynchronous(self, request):
        return self.parsed(request)

    @webhook
    async def other(self, payload):
        return "OK"

    @webhook
    async def other_100kb(self, payload):
        return "OK"

    def parsed(self, request):
        return f"{type(request.get_json(silent=True)).__name__}, {len(request.form)} fields, {len(request.get_data())} bytes"
