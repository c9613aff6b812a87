import hmac
import os
from pathlib import Path

from errklein.testing import PluginTestCase

HERE = Path(__file__).resolve().parent


class OrdersTests(PluginTestCase):
    plugin_dirs = (HERE,)

    def setUp(self):
        """Set the secrets before the plugin is activated."""
        for name in ("GH_SECRET", "ACME_SECRET"):
            os.environ[name] = "hunter2 hunter2"
            self.addCleanup(os.environ.pop, name)
        return super().setUp()

    def send(self, path, body, **headers):
        """Send a request, and return the status and the body of the response."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        response = self.post(path, data=body, headers=given)
        return response.status, response.text

    def test_github(self):
        """Only requests with GitHub's signature of the body are accepted."""
        digest = hmac.digest(b"hunter2 hunter2", b'{"ref": "main"}', "sha256").hex()
        headers = {"X_Hub_Signature_256": f"sha256={digest}", "Content_Type": "application/json"}
        self.assertEqual(self.send("/github", '{"ref": "main"}', **headers), (200, "main\n"))
        self.assertEqual(self.send("/github", '{"ref": "Main"}', **headers)[0], 401)
        self.assertEqual(self.send("/github", '{"ref": "main"}')[0], 401)

    def test_own_scheme(self):
        """Only requests with Acme's signature of the URL and the body are accepted."""
        signed = b'http://localhost/orders{"number": 5}'
        headers = {"Acme_Signature": hmac.digest(b"hunter2 hunter2", signed, "sha512").hex()}
        self.assertEqual(
            self.send("/orders", '{"number": 5}', Content_Type="application/json", **headers), (200, "order 5\n")
        )
        self.assertEqual(self.send("/orders", '{"number": 6}', **headers)[0], 401)
