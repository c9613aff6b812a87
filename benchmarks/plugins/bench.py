from errbot import BotPlugin, botcmd, webhook


class Bench(BotPlugin):
    """Handlers of each kind that do as little as possible."""

    @webhook
    def bench_plain(self, payload):
        return "OK"

    @webhook
    async def bench_async(self, payload):
        return "OK"

    @webhook(raw=True)
    def bench_raw(self, request):
        request.get_json()
        return "OK"

    @webhook(raw=True)
    async def bench_raw_async(self, request):
        request.get_json()
        return "OK"

    @webhook(form_param="payload")
    def bench_form(self, payload):
        return "OK"

    @webhook(form_param="payload")
    async def bench_form_async(self, payload):
        return "OK"

    @botcmd
    def bench_say(self, msg, args):
        return "said " + args

    @botcmd
    async def bench_say_async(self, msg, args):
        return "said " + args
