from errklein import BotPlugin, webhook


class Hello(BotPlugin):
    @webhook
    def hello(self, payload):
        self.log.info("received %r", payload)
        return "OK\n"
