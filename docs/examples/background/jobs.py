import subprocess

from errklein import BotPlugin, webhook


class Jobs(BotPlugin):
    """Accepts jobs and does them in the background."""

    @webhook(methods=["POST"])
    def jobs(self, payload):
        self.start_poller(1, self.run_job, times=1, args=(payload["name"],))
        return "accepted\n", 202

    def run_job(self, name):
        # A plain function runs in a thread, so it may take minutes.
        job = subprocess.run(["echo", name], capture_output=True, text=True, check=True)
        for room in self.bot_config.CHATROOM_PRESENCE:
            self.send(self.build_identifier(room), f"Done: {job.stdout}")
