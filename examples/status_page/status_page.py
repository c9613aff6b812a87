"""Reports the state of GitHub in chat and by HTTP, using its status page.

Both handlers return a Deferred. errklein responds when it fires, and no thread waits for it.
"""

import treq

from errklein import BotPlugin, botcmd, webhook

URL = "https://www.githubstatus.com/api/v2/status.json"


class StatusPage(BotPlugin):
    """Reports the state of GitHub."""

    @webhook(methods=["GET"])
    def status(self, payload):
        """Return the state as JSON: curl http://127.0.0.1:3141/status"""
        return self.ask().addCallback(lambda description: {"github": description})

    @botcmd
    def github_status(self, message, args):
        """Show the state of GitHub."""
        return self.ask().addCallback("GitHub: {}".format)

    def ask(self):
        """Return a Deferred that fires with the state as text."""
        asking = treq.get(URL, timeout=10)
        asking.addCallback(treq.json_content)
        asking.addCallback(lambda answer: answer["status"]["description"])
        asking.addErrback(self.no_answer)
        return asking

    def no_answer(self, failure):
        """Log the failure, and return the text for it."""
        self.log.warning("Request to %s failed: %s", URL, failure.getErrorMessage())
        return "the status page doesn't respond"
