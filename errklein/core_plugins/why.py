"""The command `!why`."""

from __future__ import annotations

from errklein.chat import Message
from errklein.commands import CommandError, admin_by_default, botcmd
from errklein.core_plugins import CorePlugin, shown_lines
from errklein.ports import JournalError
from errklein.running import TimedOut, result_within
from errklein.text import plain, truncated
from errklein.webhooks.delivery_words import InvalidWords
from errklein.webhooks.explained import Explainer

_LONGEST_WRITE = 3.0
"""The seconds that a reply waits for the disk."""

_LINE = 1000


class Why(CorePlugin):
    """Explain what has become of deliveries and their messages."""

    @admin_by_default
    @botcmd(syntax="ID | #ROOM | WEBHOOK | refused")
    async def why(self, msg: Message, args: str) -> str:
        """Explain a delivery, its messages, a webhook or a room.

        Usage: !why ID | #ROOM | WEBHOOK | refused

        ID is that of a delivery. WEBHOOK is Plugin:method, Plugin or a path. With refused, the last request that was refused is
        explained. A room of one of several networks is named as in libera:#ops.
        """
        bot = self._bot
        journal, allowed = bot.journal, bot.disclosure.allowed(bot.backend, msg)
        explainer = Explainer(journal, journal.outbox.find, bot.present, bot.now(), allowed)
        try:
            answers = await explainer.answers(args.strip())
        except InvalidWords as error:
            raise CommandError(f"{plain(truncated(str(error), _LINE))}.") from error
        except JournalError as error:
            raise CommandError(plain(str(error))) from error
        lines = [*await self._problems(), *(line for answer in answers for line in answer.lines())]
        return "\n".join(shown_lines(lines, _LINE))

    async def _problems(self) -> list[str]:
        """Return a line if the journal can't be written."""
        try:
            await result_within(self._bot.reactor, _LONGEST_WRITE, self._bot.journal.check())
        except (JournalError, TimedOut) as error:
            reason = str(error) or "the disk does not respond"
            return [f"Requests can't be recorded, and results and messages aren't stored: {reason}"]
        return []
