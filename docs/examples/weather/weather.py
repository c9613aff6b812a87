from errklein import BotPlugin, botcmd

WEEK = [{"day": "Monday", "weather": "sun"}, {"day": "Tuesday", "weather": "rain & wind"}]


class Weather(BotPlugin):
    """What to wear."""

    @botcmd(template="week")
    async def weather(self, msg, args):
        """The weather of this week."""
        return {"place": args or "here", "days": WEEK}

    @botcmd
    async def weather_warning(self, msg, args):
        """The same as a card, to the room of those who go out."""
        self.send_card(
            to=self.build_identifier("#outside"),
            title="Storm",
            link="https://weather.example/storm",
            body="Stay **inside**.",
            color="red",
            fields=(("from", "10:00"), ("until", "14:00")),
        )
