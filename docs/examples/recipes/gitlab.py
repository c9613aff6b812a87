from errklein import BotPlugin, webhook


class GitLab(BotPlugin):
    """Announces failed pipelines, with the jobs that failed."""

    @webhook("/gitlab", methods=["POST"])
    def pipeline(self, payload):
        pipeline = payload.get("object_attributes")
        if payload["object_kind"] != "pipeline" or pipeline["status"] != "failed":
            return
        failed = [job for job in payload["builds"] if job["status"] == "failed" and not job["allow_failure"]]
        jobs = ", ".join(f"`{job['name']}`" for job in failed)
        line = (
            f"[Pipeline {pipeline['id']}](<{pipeline['url']}>) of `{payload['project']['path_with_namespace']}`"
            f" failed on `{pipeline['ref']}`: {jobs or 'no job ran'}"
        )
        for room in self.bot_config.CHATROOM_PRESENCE:
            self.send(self.build_identifier(room), line)
