from errklein import BotPlugin, webhook
from errklein.text import md_escape


class Alertmanager(BotPlugin):
    """Announces alerts when they fire and when they are resolved."""

    @webhook("/alertmanager", methods=["POST"])
    def alerts(self, payload):
        lines = []
        for alert in payload["alerts"][:10]:
            state = "**FIRING**" if alert["status"] == "firing" else "Resolved"
            summary = md_escape(alert["annotations"].get("summary", ""))
            query = f" [(query)](<{alert['generatorURL']}>)" if alert["generatorURL"] else ""
            lines.append(f"{state} `{alert['labels']['alertname']}` {summary}{query}")
        more = len(payload["alerts"]) - len(lines) + payload["truncatedAlerts"]
        if more:
            lines.append(f"… and {more} more")
        for room in self.bot_config.CHATROOM_PRESENCE:
            self.send(self.build_identifier(room), "\n".join(lines))
