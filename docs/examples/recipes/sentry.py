from flask import request

from errklein import BotPlugin, webhook
from errklein.text import md_escape


class Sentry(BotPlugin):
    """Announces issues for which an alert rule was triggered."""

    @webhook("/sentry", methods=["POST"])
    def alert(self, payload):
        if request.headers.get("Sentry-Hook-Resource") != "event_alert":
            return
        event = payload["data"]["event"]
        line = (
            f"**{event.get('level', 'issue')}** [{md_escape(event['title'])}](<{event['web_url']}>)"
            f" in `{event.get('culprit') or 'unknown'}` (rule `{payload['data']['triggered_rule']}`)"
        )
        for room in self.bot_config.CHATROOM_PRESENCE:
            self.send(self.build_identifier(room), line)
