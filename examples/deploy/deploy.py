"""Runs a script for each request to a webhook, and stores what was deployed.

The handler may wait minutes for the script. It is a plain function, so it runs in a thread and delays nothing else.
"""

import hmac
import subprocess

from errbot import BotPlugin, botcmd, webhook
from flask import abort, after_this_request, request


class Deploy(BotPlugin):
    """Runs the script with environment and version: POST {"version": "1.2"} to /deploy/staging or /deploy/production."""

    def get_configuration_template(self):
        """TOKEN authenticates senders; SCRIPT is a path."""
        return {"TOKEN": "something long and random", "SCRIPT": "/usr/local/bin/deploy"}

    @webhook("/deploy/<any(staging, production):environment>/", methods=["POST"])
    def deploy(self, payload, environment):
        """Run the script, and return its output."""
        if self.config is None:
            abort(503, "The plugin has no configuration yet.")
        if not hmac.compare_digest(request.headers.get("X-Token", "").encode(), self.config["TOKEN"].encode()):
            abort(403, "The header X-Token is missing or wrong.")
        if not isinstance(payload, dict) or not isinstance(payload.get("version"), str):
            abort(400, 'The body must be JSON such as {"version": "1.2"}.')
        version = payload["version"]
        command = [self.config["SCRIPT"], environment, version]
        script = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        if script.returncode:
            self.warn_admins(f"{version} could not be deployed to {environment}: status {script.returncode}")
            abort(502, "The script has failed.")
        self[environment] = version

        @after_this_request
        def say_version(response):
            response.headers["X-Deployed"] = version
            response.mimetype = "text/plain"

        return script.stdout

    @botcmd
    def deployed(self, message, args):
        """Show the deployed versions."""
        if not self:
            yield "Nothing was deployed yet."
        for environment, version in sorted(self.items()):
            yield f"{environment}: {version}"
