from html import escape

from klein import Klein
from werkzeug.exceptions import NotFound

from errklein import BotPlugin, webhook


class Board(BotPlugin):
    """Shows the latest build of each project."""

    pages = Klein()

    def activate(self):
        super().activate()
        self.builds = {}
        self.mount("/board", self.pages.resource())

    @webhook("/board/<project>", methods=["POST"])
    async def report(self, payload, project):
        self.builds[project] = str(payload["status"])
        return "stored\n"

    @pages.route("/")
    def index(self, request):
        rows = "".join(f"<li>{escape(project)}: {escape(status)}\n" for project, status in self.builds.items())
        return f"<!doctype html>\n<title>Builds</title>\n<ul>\n{rows}</ul>\n"

    @pages.route("/<project>")
    def project(self, request, project):
        if project not in self.builds:
            raise NotFound
        request.setHeader("Content-Type", "text/plain; charset=utf-8")
        return f"{self.builds[project]}\n"
