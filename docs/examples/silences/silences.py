from datetime import UTC, datetime, timedelta

from errklein import BotPlugin, CommandError, botcmd, webhook


class Silences(BotPlugin):
    """Announces alerts of Alertmanager, and silences them from the chat."""

    def get_configuration_template(self):
        return {"URL": "http://127.0.0.1:9093", "TOKEN": ""}

    def configure(self, configuration):
        super().configure({**self.get_configuration_template(), **(configuration or {})})

    @webhook("/alerts", source="alertmanager", ack="now")
    async def announce(self, event):
        for room in self.bot_config.CHATROOM_PRESENCE:
            self.send(self.build_identifier(room), event.text())

    @botcmd(admin_only=True)
    async def silence(self, message, args):
        """Silence an alert for some hours, 1 by default: !silence InstanceDown 4"""
        name, hours = (*args.split(), "1")[:2] if args else ("", "")
        if not name or not hours.isdecimal():
            raise CommandError("Name an alert, and the hours: !silence InstanceDown 4")
        now = datetime.now(UTC)
        silence = {
            "matchers": [{"name": "alertname", "value": name, "isRegex": False, "isEqual": True}],
            "startsAt": now.isoformat(),
            "endsAt": (now + timedelta(hours=min(int(hours), 24 * 7))).isoformat(),
            "createdBy": str(message.frm),
            "comment": "silenced in the chat",
        }
        token = self.config["TOKEN"]
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        url = f"{self.config['URL']}/api/v2/silences"
        response = await self.http.post(url, json=silence, headers=headers, timeout=10, allow_redirects=False)
        if response.code != 200:
            raise CommandError(f"Alertmanager has refused this with the status {response.code}.")
        return f"Silenced {name}."
