from errklein import BotPlugin, botcmd

WEEK = [
    {"day": "Monday", "weather": "sun"},
    {"day": "Tuesday", "weather": "rain & wind"},
]


class Weather(BotPlugin):
    """Shows the weather."""

    @botcmd(template="week")
    async def weather(self, message, args):
        """Show the weather of this week."""
        return {"place": args or "here", "days": WEEK}

    @botcmd
    async def weather_warning(self, message, args):
        """Post the weather warning as a card."""
        self.send_card(
            to=self.build_identifier("#outside"),
            title="Storm",
            link="https://weather.example/storm",
            body="Stay **inside**.",
            color="red",
            fields=(("from", "10:00"), ("until", "14:00")),
        )
