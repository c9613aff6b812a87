from errklein import BotPlugin

URL = "https://shop.example/"


class Monitor(BotPlugin):
    """Reports when a site goes down or comes back."""

    def activate(self):
        super().activate()
        self.state = "up"
        self.start_poller(60, self.check)

    async def check(self):
        try:
            response = await self.http.get(URL, timeout=10)
            state = "up" if response.code == 200 else "down"
        except Exception as error:
            self.log.info("%s: %s", URL, error)
            state = "down"
        if state != self.state:
            self.state = state
            self.warn_admins(f"{URL} is {state}")
