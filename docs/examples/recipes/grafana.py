from errklein import BotPlugin, webhook
from errklein.text import md_escape


class Grafana(BotPlugin):
    """Announces alerts when they fire and when they are resolved."""

    @webhook("/grafana", methods=["POST"])
    def alerts(self, payload):
        lines = []
        for alert in payload["alerts"][:10]:
            state = "**FIRING**" if alert["status"] == "firing" else "Resolved"
            values = ", ".join(f"{name} = {value:.4g}" for name, value in (alert.get("values") or {}).items())
            summary = md_escape(alert["annotations"].get("summary") or values)
            line = f"{state} `{alert['labels']['alertname']}` {summary} [(rule)](<{alert['generatorURL']}>)"
            lines.append(f"{line} [(silence)](<{alert['silenceURL']}>)" if alert["status"] == "firing" else line)
        for room in self.bot_config.CHATROOM_PRESENCE:
            self.send(self.build_identifier(room), "\n".join(lines))
