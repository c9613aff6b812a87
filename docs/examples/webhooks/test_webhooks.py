import json
from pathlib import Path

from errklein.testing import PluginTestCase

HERE = Path(__file__).resolve().parent


class WebhookTests(PluginTestCase):
    plugin_dirs = (HERE,)
    config = {"CHATROOM_PRESENCE": ("#builds",)}
    secrets = {"GH_SECRET": "s3cret"}

    def test_hello(self):
        """A bare webhook has the method's name as its URL."""
        self.assertEqual(self.post("/hello", data={"name": "Ada"}).text, "OK\n")
        self.assertEqual(self.get("/hello/").text, "OK\n")
        self.assertIn("received {'name': 'Ada'}", self.bot.report())

    def test_build(self):
        """The parts of the URL are arguments; the dict is sent as JSON."""
        response = self.get("/builds/errklein/12")
        self.assertEqual(response.json(), {"project": "errklein", "number": 12})
        self.assertEqual(self.get("/builds/errklein/latest").status, 404)
        self.assertEqual(self.post("/builds/errklein/12").status, 405)

    def test_deployment(self):
        """JSON is decoded, and a body without the service is rejected."""
        response = self.post("/deployments", json={"service": "shop"})
        self.assertEqual((response.status, response.json()), (200, {"accepted": True}))
        self.assertEqual(self.bot.sent_to("#builds"), ["Deployed shop"])
        self.assertEqual(self.post("/deployments", json=["shop"]).status, 400)

    def test_github(self):
        """The field `payload` of the form is decoded."""
        payload = json.dumps({"repository": {"name": "website"}})
        response = self.post("/github", data={"payload": payload})
        self.assertEqual((response.status, response.text), (200, ""))
        self.assertEqual(self.bot.sent_to("#builds"), ["Commit on website!"])

    def test_github_without_the_field(self):
        """A form that lacks the field is rejected."""
        self.assertEqual(self.post("/github", data={"other": "1"}).status, 400)

    def test_github_with_an_invalid_field(self):
        """A field without the name of a repository is rejected."""
        for payload in ("notjson", "1", "[]", "{}", '{"repository": 1}'):
            self.assertEqual(self.post("/github", data={"payload": payload}).status, 400)
        self.assertEqual(self.bot.sent_to("#builds"), [])

    def test_stock(self):
        """An unknown item gets 404 with the reason as JSON."""
        response = self.get("/stock/tea")
        self.assertEqual((response.status, response.json()), (200, {"item": "tea", "count": 12}))
        response = self.get("/stock/coal")
        self.assertEqual((response.status, response.json()), (404, {"detail": "There is no item coal."}))

    def test_recorded_delivery(self):
        """A delivery that failed in service is rejected now."""
        self.assertEqual(self.replay("delivery-4711.json").status, 400)

    def test_agent(self):
        """A raw handler gets the request."""
        response = self.post("/agent", data="abc", headers={"User-Agent": "probe"})
        self.assertEqual(response.json(), {"agent": "probe", "method": "POST", "bytes": 3})

    def test_signed(self):
        """Only the source that knows the secret is accepted."""
        zen = {"zen": "Speak like a human."}
        self.assertEqual(self.post("/signed", zen, source="github", event="ping").text, "Speak like a human.\n")
        self.assertEqual(self.post("/signed", zen).status, 401)

    def test_signed_form(self):
        """The signature of a form is that of its bytes."""
        form = {"payload": json.dumps({"zen": "Speak like a human."})}
        self.assertEqual(self.post("/signed_form", data=form, source="github").text, "Speak like a human.\n")

    def test_progress(self):
        """The stream takes three seconds, which pass at once."""
        waiting = self.bot.get("/progress")
        self.assertNoResult(waiting)
        self.bot.advance(3)
        self.assertEqual(self.successResultOf(waiting).text, "0 %\n50 %\n100 %\n")
