"""Tells in chat and on a URL how GitHub is doing, by asking its status page.

Both handlers return a Deferred: errklein answers when it fires, and no thread waits for it.
"""

import treq

from errklein import BotPlugin, botcmd, webhook

URL = "https://www.githubstatus.com/api/v2/status.json"


class StatusPage(BotPlugin):
    """Asks the status page whenever it is asked itself."""

    @webhook(methods=["GET"])
    def status(self, payload):
        """Answer with JSON: curl http://127.0.0.1:3141/status"""
        return self.ask().addCallback(lambda description: {"github": description})

    @botcmd
    def github_status(self, message, args):
        """Say how GitHub is doing."""
        return self.ask().addCallback("GitHub: {}".format)

    def ask(self):
        """A Deferred that fires with the state in words."""
        asking = treq.get(URL, timeout=10)
        asking.addCallback(treq.json_content)
        asking.addCallback(lambda answer: answer["status"]["description"])
        asking.addErrback(self.no_answer)
        return asking

    def no_answer(self, failure):
        """What to say when the status page itself can't be asked."""
        self.log.warning("%s can't be asked: %s", URL, failure.getErrorMessage())
        return "the status page doesn't answer"
