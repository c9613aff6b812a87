from pathlib import Path

from errklein.testing import PluginTestCase

HERE = Path(__file__).resolve().parent


class TrustedTests(PluginTestCase):
    plugin_dirs = (HERE,)
    config = {
        "CHATROOM_PRESENCE": ("#releases",),
        "WEBHOOKS": {"Releases:published": {"verify": "github", "secret": "env:GH_SECRET"}},
    }
    secrets = {"GH_SECRET": "only-github-and-I-know"}

    def test_release(self):
        """A release with a name is announced, if the request is signed."""
        payload = {"release": {"tag_name": "v1.2", "name": "Summer"}}
        self.assertEqual(self.post("/releases", payload).status, 401)
        self.assertEqual(self.post("/releases", payload, source="github", event="release").status, 200)
        self.assertEqual(self.bot.sent_to("#releases"), ["Released: Summer"])

    def test_deployment(self):
        """A repeated request gets the same response, and nothing is announced twice."""
        payload = {"deployment": {"environment": "production", "sha": "f95f852"}}
        for _ in range(2):
            response = self.post("/deployments", payload, source="github", headers={"X-GitHub-Delivery": "72d3162e"})
            self.assertEqual(response.status, 202)
            self.bot.advance(1)
        self.assertEqual(self.bot.sent_to("#releases"), ["Deployed to production"])
        self.assertEqual(self.bot.plugin("Deployments")["production"], "f95f852")

    def test_alert(self):
        """While the service for alerts is unavailable, the delivery is retried, and nothing is announced twice."""
        self.http.respond("PUT", "https://alerts.example.net/deployment-1")
        self.http.respond("PUT", "https://alerts.example.net/deployment-1", status=503, times=1)
        payload = {"deployment": {"environment": "production", "sha": "f95f852"}}
        self.assertEqual(self.post("/deployments/failed", payload, source="github").status, 202)
        self.bot.advance(1)
        self.flushLoggedErrors(RuntimeError)
        self.bot.advance(10)
        self.assertEqual(len(self.http.requests), 2)
        self.assertEqual(self.bot.sent_to("#releases"), ["Deployment to production failed"])
