"""Shows GitHub's status, in the chat and at a URL.

Both handlers return a Deferred. errklein replies when it fires, and no thread waits for it.
"""

from errklein import BotPlugin, botcmd, webhook

URL = "https://www.githubstatus.com/api/v2/status.json"


class StatusPage(BotPlugin):
    """Shows GitHub's status."""

    @webhook(methods=["GET"])
    def status(self, payload):
        """Return the status as JSON: curl http://127.0.0.1:3141/status"""
        return self.fetch().addCallback(lambda description: {"github": description})

    @botcmd
    def github_status(self, message, args):
        """Show GitHub's status."""
        return self.fetch().addCallback("GitHub: {}".format)

    def fetch(self):
        """Return a Deferred of the status as text."""
        fetching = self.http.get(URL, timeout=10)
        fetching.addCallback(lambda response: response.json())
        fetching.addCallback(lambda content: content["status"]["description"])
        fetching.addErrback(self.failed)
        return fetching

    def failed(self, failure):
        """Log why the status page has no status, and return a text in its place."""
        self.log.warning("%s failed: %s", URL, failure.getErrorMessage())
        return "unknown"
