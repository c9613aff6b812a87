"""The command `bench say` of ../../../plugins/bench.py, for Limnoria."""

from typing import Any

from supybot import callbacks
from supybot.commands import wrap


class Bench(callbacks.Plugin):  # type: ignore[misc]
    """A command that does as little as possible."""

    def bench(self, irc: Any, msg: Any, args: Any, text: str) -> None:
        """<text>

        Replies with the text after the word "say".
        """
        irc.reply("said " + text.removeprefix("say "))

    bench = wrap(bench, ["text"])


Class = Bench
