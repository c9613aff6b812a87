from errbot import BotPlugin, webhook


class Pushes(BotPlugin):
    """A webhook for GitHub's pushes that posts a line to a room."""

    @webhook
    def push(self, payload):
        commits = payload["commits"]
        text = f"{payload['pusher']['name']} pushed {len(commits)} commits: {payload['after']}"
        self.send(self.build_identifier("#ops"), text)
        return "OK"
