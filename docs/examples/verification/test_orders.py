from pathlib import Path

from errklein.testing import PluginTestCase

HERE = Path(__file__).resolve().parent


class OrdersTests(PluginTestCase):
    plugin_dirs = (HERE,)

    secrets = {"GH_SECRET": "hunter2 hunter2", "ACME_SECRET": "hunter3 hunter3"}

    def test_github(self):
        """Only requests with GitHub's signature of the body are accepted."""
        self.assertEqual(self.post("/github", {"ref": "main"}, source="github", event="push").text, "main\n")
        self.assertEqual(self.post("/github", {"ref": "main"}).status, 401)

    def test_own_scheme(self):
        """Only requests with Acme's signature of the URL and the body are accepted."""
        self.assertEqual(self.post("/orders", {"number": 5}, source="acme").text, "order 5\n")
        self.assertEqual(self.post("/orders", {"number": 5}).status, 401)
        wrong = {"Acme-Signature": "0" * 128}
        self.assertEqual(self.post("/orders", {"number": 5}, source="acme", headers=wrong).status, 401)
