from flask import request

from errklein import BotPlugin, webhook
from errklein.text import md_escape


class GitHub(BotPlugin):
    """Announces pushed commits and published releases."""

    @webhook("/github", methods=["POST"])
    def event(self, payload):
        event = request.headers.get("X-GitHub-Event")
        if event == "push" and payload["commits"]:
            done = f"pushed to `{payload['ref'].removeprefix('refs/heads/')}`"
            title, url = payload["head_commit"]["message"].split("\n")[0], payload["compare"]
        elif event == "release" and payload["action"] == "published":
            done = "released"
            title, url = payload["release"]["name"] or payload["release"]["tag_name"], payload["release"]["html_url"]
        else:
            return
        line = f"`{payload['sender']['login']}` {done} in `{payload['repository']['full_name']}`"
        for room in self.bot_config.CHATROOM_PRESENCE:
            self.send(self.build_identifier(room), f"{line}: [{md_escape(title)}](<{url}>)")
