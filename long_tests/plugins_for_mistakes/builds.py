"""The plugin of mistakes.py."""

from typing import Any

from errklein import BotPlugin, arg_botcmd, botcmd, webhook
from errklein.verify import github


class Builds(BotPlugin):
    """Reports builds."""

    @arg_botcmd("project")
    @arg_botcmd("--number", type=int, default=1)
    def build(self, msg: Any, project: Any, number: Any) -> str:
        """Show a build."""
        return f"{project} {number}"

    @botcmd
    def deploy(self, msg: Any, args: Any) -> str:
        """Deploy a build."""
        return "deployed"

    @webhook("/builds/<project>", methods=["POST"])  # report
    def report(self, payload: Any, project: Any) -> Any:
        """Record a build."""
        return {"recorded": project}

    @webhook("/form", form_param="payload", methods=["POST"])
    def form(self, payload: Any) -> str:
        """Record a build of a form."""
        return "recorded"

    @webhook("/signed", methods=["POST"], verify=github(secret="env:GH_SECRET"))
    def signed(self, payload: Any) -> str:
        """Record a build of GitHub."""
        return "recorded"

    @webhook("/numbers/<int:number>", methods=["POST"])
    def numbered(self, payload: Any, number: Any) -> str:
        """Record a numbered build."""
        return "recorded"
