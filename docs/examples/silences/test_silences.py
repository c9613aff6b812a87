import runpy
from datetime import datetime, timedelta
from pathlib import Path

from errklein.testing import PluginTestCase

HERE = Path(__file__).resolve().parent
API = "http://127.0.0.1:9093/api/v2/silences"
ALERT = {
    "status": "firing",
    "externalURL": "https://evil.example",
    "alerts": [
        {
            "status": "firing",
            "labels": {"alertname": "InstanceDown", "instance": "web-1"},
            "annotations": {"summary": "web-1 has been down for 5 minutes."},
            "generatorURL": "https://evil.example/graph",
        }
    ],
}


class SilencesTests(PluginTestCase):
    plugin_dirs = (HERE,)
    config = {
        "CHATROOM_PRESENCE": ("#ops",),
        "WEBHOOKS": runpy.run_path(str(HERE / "config.py"))["WEBHOOKS"],
    }
    secrets = {"ALERTMANAGER_TOKEN": "only-alertmanager-and-I-know"}

    def setUp(self):
        """Let Alertmanager accept silences."""
        super().setUp()
        self.http.respond("POST", API, json={"silenceID": "b7f2"})

    def alert(self):
        """Send the alert as Alertmanager does."""
        response = self.post("/alerts", ALERT, headers={"Authorization": "Bearer only-alertmanager-and-I-know"})
        self.assertEqual(response.status, 202)
        self.bot.advance(0)

    def test_alert(self):
        """An alert is announced, if the request has the token."""
        self.assertEqual(self.post("/alerts", ALERT).status, 401)
        self.alert()
        self.assertIn("InstanceDown", self.bot.sent_to("#ops")[0])

    def test_silence(self):
        """An alert is silenced in the name of the administrator, for as long as he says."""
        self.assertEqual(self.command("!silence InstanceDown 4"), "Silenced InstanceDown.")
        [request] = self.http.requests
        silence = request.json()
        self.assertEqual(silence["matchers"][0]["value"], "InstanceDown")
        self.assertEqual(silence["createdBy"], "@admin")
        begin, end = (datetime.fromisoformat(silence[name]) for name in ("startsAt", "endsAt"))
        self.assertEqual(end - begin, timedelta(hours=4))
        self.assertIsNone(request.header("Authorization"))

    def test_address_and_token(self):
        """Both are those of the configuration, whatever an alert says."""
        self.bot.say("!plugin config Silences {'URL': 'https://alerts.example.net', 'TOKEN': 's3cret'}")
        self.http.respond("POST", "https://alerts.example.net/api/v2/silences", json={"silenceID": "b7f2"})
        self.alert()
        self.command("!silence InstanceDown")
        [request] = self.http.requests
        self.assertEqual(str(request), "POST https://alerts.example.net/api/v2/silences")
        self.assertEqual(request.header("Authorization"), "Bearer s3cret")

    def test_refused(self):
        """A refusal is said, and others may not silence alerts."""
        self.http.respond("POST", API, status=400)
        self.assertEqual(self.command("!silence InstanceDown"), "Alertmanager has refused this with the status 400.")
        self.assertIn("Name an alert", self.command("!silence"))
        self.assertIn("requires bot-admin privileges", self.command("!silence InstanceDown", frm="@bob"))
        self.assertEqual(len(self.http.requests), 1)
