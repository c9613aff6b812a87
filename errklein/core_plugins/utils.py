"""`!echo` and `!whoami`."""

from __future__ import annotations

from errklein import BotPlugin, botcmd
from errklein.chat import Message


class Utils(BotPlugin):
    """Small commands for finding out how messages arrive."""

    @botcmd
    async def echo(self, msg: Message, args: str) -> str:
        """Say the same back."""
        return args

    @botcmd
    async def whoami(self, msg: Message, args: str) -> str:
        """Show who you are to the bot; with a name, who that is."""
        who = self.build_identifier(args.strip()) if args.strip() else msg.frm
        names = ("person", "nick", "fullname", "client", "email", "aclattr", "room", "network")
        rows = [f"| {name} | {_cell(getattr(who, name))} |" for name in names if hasattr(who, name)]
        facts = [f"- string representation is '{_cell(who)}'", f"- class is '{type(who).__name__}'"]
        return "\n".join(["| key | value |", "| --- | --- |", *rows, "", *facts])


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")
