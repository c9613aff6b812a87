"""Tests for deployments. The scripts are `echo` and `false`."""

from pathlib import Path

from errklein.testing import ADMIN, PluginTestCase

HERE = Path(__file__).resolve().parent


class DeployTests(PluginTestCase):
    plugin_dirs = (HERE,)

    def configure(self, script):
        """Configure the plugin as an admin does it."""
        self.command(f"!plugin config Deploy {{'TOKEN': 'secret', 'SCRIPT': {script!r}}}")

    def deploy(self, environment="staging", version="1.2", token="secret"):
        """The answer to a request."""
        return self.post(f"/deploy/{environment}", json={"version": version}, headers={"X-Token": token})

    def test_deployment(self):
        """The script's output is the answer, and the version is remembered."""
        self.configure("echo")
        answer = self.deploy()
        self.assertEqual((answer.status, answer.text), (200, "staging 1.2\n"))
        self.assertEqual(answer.header("X-Deployed"), "1.2")
        self.assertEqual(self.command("!deployed"), "staging: 1.2")

    def test_one_answer_for_each_environment(self):
        """A generator's items are messages of their own."""
        self.configure("echo")
        self.deploy("staging", "2.0")
        self.deploy("production", "1.9")
        self.assertEqual(self.bot.say("!deployed"), ["production: 1.9", "staging: 2.0"])

    def test_failing_script(self):
        """When the script fails the sender learns it, admins do, and nothing is remembered."""
        self.configure("false")
        self.assertEqual(self.deploy().status, 502)
        self.assertEqual(self.bot.sent_to(ADMIN)[-1], "1.2 could not be deployed to staging: status 1")
        self.assertEqual(self.command("!deployed"), "Nothing was deployed yet.")

    def test_wrong_token(self):
        """Nobody deploys without the token."""
        self.configure("echo")
        self.assertEqual(self.deploy(token="guess").status, 403)
        self.assertEqual(self.deploy(token="").status, 403)

    def test_without_version(self):
        """A body that isn't what the script needs is refused."""
        self.configure("echo")
        answer = self.post("/deploy/staging", json={"version": 12}, headers={"X-Token": "secret"})
        self.assertEqual(answer.status, 400)
        self.assertIn("The body has to be JSON", answer.text)

    def test_without_configuration(self):
        """Before it is configured the plugin deploys nothing."""
        self.assertEqual(self.deploy().status, 503)

    def test_unknown_environment(self):
        """The route names the environments there are."""
        self.configure("echo")
        self.assertEqual(self.deploy("moon").status, 404)
