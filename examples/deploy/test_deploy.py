"""Tests of deployments. The scripts are `echo` and `false`."""

from pathlib import Path

from errklein.testing import ADMIN, PluginTestCase

HERE = Path(__file__).resolve().parent


class DeployTests(PluginTestCase):
    plugin_dirs = (HERE,)

    def configure(self, script):
        """Configure the plugin as an administrator does."""
        self.command(f"!plugin config Deploy {{'TOKEN': 'secret', 'SCRIPT': {script!r}}}")

    def deploy(self, environment="staging", version="1.2", token="secret"):
        """Send a request, and return the response."""
        return self.post(f"/deploy/{environment}", json={"version": version}, headers={"X-Token": token})

    def test_deployment(self):
        """The script's output is the response, and the version is stored."""
        self.configure("echo")
        response = self.deploy()
        self.assertEqual((response.status, response.text), (200, "staging 1.2\n"))
        self.assertEqual(response.header("X-Deployed"), "1.2")
        self.assertEqual(self.command("!deployed"), "staging: 1.2")

    def test_one_message_for_each_environment(self):
        """Each item of a generator is a message."""
        self.configure("echo")
        self.deploy("staging", "2.0")
        self.deploy("production", "1.9")
        self.assertEqual(self.bot.say("!deployed"), ["production: 1.9", "staging: 2.0"])

    def test_failing_script(self):
        """If the script fails, the sender gets 502, administrators a message, and nothing is stored."""
        self.configure("false")
        self.assertEqual(self.deploy().status, 502)
        self.assertEqual(self.bot.sent_to(ADMIN)[-1], "1.2 could not be deployed to staging: status 1")
        self.assertEqual(self.command("!deployed"), "Nothing was deployed yet.")

    def test_wrong_token(self):
        """Without the token nothing is deployed."""
        self.configure("echo")
        self.assertEqual(self.deploy(token="guess").status, 403)
        self.assertEqual(self.deploy(token="").status, 403)

    def test_without_version(self):
        """A body without a version gets 400."""
        self.configure("echo")
        response = self.post("/deploy/staging", json={"version": 12}, headers={"X-Token": "secret"})
        self.assertEqual(response.status, 400)
        self.assertIn("The body must be JSON", response.text)

    def test_without_configuration(self):
        """Without a configuration nothing is deployed."""
        self.assertEqual(self.deploy().status, 503)

    def test_unknown_environment(self):
        """An unknown environment gets 404."""
        self.configure("echo")
        self.assertEqual(self.deploy("moon").status, 404)
