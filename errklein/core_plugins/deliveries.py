"""The commands `!delivery list`, `show` and `replay`, `!webhook show`, `pause` and `resume`, and `!why`."""

from __future__ import annotations

import shlex
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar

from errklein.chat import Message
from errklein.commands import CommandError, admin_by_default, botcmd
from errklein.core_plugins import CorePlugin, shown_lines
from errklein.journal import DeliveryQueue, log_replay
from errklein.ports.journal import Journal, JournalError
from errklein.running import TimedOut, result_within
from errklein.text import code, fenced, plain, truncated
from errklein.text.masking import masker
from errklein.webhooks.deliveries import DeliveryQuery, StoredDelivery
from errklein.webhooks.delivery_words import (
    InvalidWords,
    counted_query,
    next_page,
    parse_ids,
    parse_list,
    parse_replay,
    parse_webhook,
)
from errklein.webhooks.explained import Explainer
from errklein.webhooks.exported import body_text, details, grouped, not_recorded, summary
from errklein.webhooks.report import day_of, listed, numbers_of, options_given

T = TypeVar("T")

_NONE = "No delivery matches."
_LINE = 300
_SHOWN = 2000
_EXPLAINED = 1000
_LONGEST_WRITE = 3.0
"""The seconds that a reply waits for the disk."""

_MOST_LINES = 100
"""The number of lines of a reply. More would hold the reactor for too long."""


class Deliveries(CorePlugin):
    """List, show, replay and explain the deliveries of webhooks."""

    @admin_by_default
    @botcmd(
        syntax="[WEBHOOK] [STATE …] [since TIME] [until TIME] [status STATUS] [reason TEXT] [source-id ID] [limit COUNT] [before ID] [grouped]",
        aliases=("deliveries",),
    )
    async def delivery_list(self, msg: Message, args: str) -> str:
        """List the latest deliveries of webhooks, or groups of them.

        Usage: !delivery list [WEBHOOK] [STATE …] [since TIME] [until TIME] [status STATUS] [reason TEXT] [source-id ID]
        [limit COUNT] [before ID] [grouped]

        WEBHOOK is Plugin:method, Plugin or the path of a webhook. A state is received, running, retry, done, dead, failed,
        duplicate or refused. A time is a duration such as 10min, 2h or 3d, or an ISO date. With grouped, deliveries with the
        same reason are shown together, with the ids to replay, or those that the source must send again.
        """
        words = _split(args)
        query, is_grouped = await self._parsed(parse_list, words)
        if not is_grouped:
            query = replace(query, limit=min(query.limit, _MOST_LINES))
        found = await _read(self._journal.find(query))
        counted = not_recorded(await _read(self._journal.counted(counted_query(query, found))))
        disclosed = [self._disclosed(msg, one) for one in found]
        if is_grouped:
            return "\n".join(shown_lines([*grouped(disclosed), *counted], _SHOWN)) or _NONE
        lines = shown_lines([*map(summary, disclosed), *counted])
        if not lines:
            return _NONE
        if len(found) == query.limit:
            lines.append(f"Older ones: {code(f'{self._bot.prefix}delivery list {next_page(words, found[-1].id)}')}")
        return "\n".join(lines)

    @admin_by_default
    @botcmd(hidden=True)
    async def delivery(self, msg: Message, args: str) -> str:
        """Refuse a command without an action, and name the actions."""
        prefix, words = self._bot.prefix, args.split()
        if parse_ids(words) is not None:
            raise CommandError(f"The command is {code(f'{prefix}delivery show {words[0]}')}.")
        actions = ", ".join(code(f"{prefix}delivery {action}") for action in ("list", "show ID", "replay ID"))
        raise CommandError(f"Name an action: {actions}.")

    @admin_by_default
    @botcmd(syntax="ID")
    async def delivery_show(self, msg: Message, args: str) -> str:
        """Show a delivery with its attempts, headers and body.

        Usage: !delivery show ID
        """
        ids = parse_ids(args.split())
        if ids is None or len(ids) != 1:
            given = f"; {plain(truncated(args, _LINE))} is none" if args else ""
            raise CommandError(f"Name the id of a delivery{given}.")
        found = await _read(self._journal.get(ids[0]))
        if found is None:
            raise CommandError(f"There is no delivery {ids[0]}.")
        lines = shown_lines(details(self._disclosed(msg, found))[:_MOST_LINES])
        if found.request is not None:
            description, text = body_text(found.request)
            lines += [description, *([fenced(truncated(masker.part(text, 0, 2 * _SHOWN), _SHOWN))] if text else ())]
        return "\n".join(lines)

    @admin_by_default
    @botcmd(syntax="ID … | [WEBHOOK] [STATE …] [since TIME] [until TIME] [force]")
    async def delivery_replay(self, msg: Message, args: str) -> str:
        """Run deliveries once more.

        Usage: !delivery replay ID … [force]
        !delivery replay [WEBHOOK] [STATE …] [since TIME] [until TIME] [force]

        The words of the second form are those of !delivery list. Without a state, failed and dead deliveries run. At most 1000
        run at a time, the latest ones. Those that the source has repeated meanwhile run only with force.
        """
        given = await self._parsed(parse_replay, _split(args))
        ids = given.ids or [one.id for one in await _read(self._journal.find(given.query))]
        replayed = set(await _read(self._journal.replay(ids, given.force)))
        self._queue.look()
        if replayed:
            log_replay(sorted(replayed), str(msg.frm))
        left = [] if given.force else [one for one in ids if one not in replayed]
        found = await _read(self._journal.find(DeliveryQuery(ids=left, limit=len(left))))
        by = {one.id: one.superseded_by for one in found if one.superseded_by}
        repeated = [f"{one} as {by[one]}" for one in ids if one in by]
        others = [str(one) for one in ids if one not in {*replayed, *by}]
        text = f"Replaying {_counted(len(replayed))}."
        if repeated:
            force = f"add {code('force')} to replay {'them' if repeated[1:] else 'it'}, too"
            text += f" The source has repeated {_beginning(repeated)}; {force}."
        if others:
            text += f" Others can't be replayed: they are unknown, due or running already, or their body isn't stored: {_beginning(others)}"
        return text

    @admin_by_default
    @botcmd(syntax="WEBHOOK")
    async def webhook_show(self, msg: Message, args: str) -> str:
        """Show a webhook, and what has become of its requests.

        Usage: !webhook show WEBHOOK

        The reply has its URL and options, whether it is paused, what !why says about it, and the numbers of a day.

        WEBHOOK is Plugin:method, Plugin or the path of a webhook.
        """
        known = {*self._hooks().values(), *await _read(self._journal.webhooks())}
        names = self._named(_split(args), known)
        lines = [line for name in names for line in await _read(self._described(msg, name))]
        return "\n".join(shown_lines(lines, _SHOWN)[:_MOST_LINES])

    async def _described(self, msg: Message, webhook: str) -> list[str]:
        """Return the lines about a webhook, which may be one of an inactive plugin."""
        bot, site = self._bot, self.bot_config.PUBLIC_URL + self.bot_config.WEBHOOK_BASE_PATH
        lines = []
        for route in bot.web.routes.hooks():
            if route.hook.full_name == webhook:
                methods = route.methods or route.hook.declaration.methods
                lines += [listed(route.hook, site, methods, self._queue.paused), *options_given(route.hook)]
                lines += [f"Requests go to {route.shadowed_by}, which has the same URL."] if route.shadowed_by else []
        lines += await self._explained(msg, webhook)
        day = day_of(webhook, bot.now())
        lines += numbers_of(await self._journal.find(day), await self._journal.counted(day))
        number = sum(count for (name, _), count in bot.web.counts.responses.items() if name == webhook)
        return [*lines, f"Responses since the start of the bot: {number}"]

    @admin_by_default
    @botcmd(syntax="[WEBHOOK]")
    async def webhook_pause(self, msg: Message, args: str) -> str:
        """Let the deliveries of a webhook wait.

        Usage: !webhook pause [WEBHOOK]

        Requests are verified, recorded and get 202. They run after !webhook resume, also if the bot restarts meanwhile.
        Without a webhook, the paused webhooks are listed.
        """
        if not args.strip():
            return f"Paused: {plain(', '.join(sorted(self._queue.paused))) or 'none'}."
        webhooks = self._webhooks(args)
        for webhook in webhooks:
            await _read(self._queue.pause(webhook))
        return f"Paused {plain(', '.join(webhooks))}."

    @admin_by_default
    @botcmd(syntax="WEBHOOK")
    async def webhook_resume(self, msg: Message, args: str) -> str:
        """Run the deliveries of a paused webhook.

        Usage: !webhook resume WEBHOOK
        """
        webhooks = self._webhooks(args)
        for webhook in webhooks:
            await _read(self._queue.resume(webhook))
        return f"Resumed {plain(', '.join(webhooks))}."

    @admin_by_default
    @botcmd(syntax="ID | #ROOM | WEBHOOK | refused")
    async def why(self, msg: Message, args: str) -> str:
        """Explain the state of a delivery, webhook or room.

        Usage: !why ID | #ROOM | WEBHOOK | refused

        ID is that of a delivery or of its request. WEBHOOK is Plugin:method, Plugin or a path. With refused, the last request that was refused is
        explained. A room of one of several networks is named as in libera:#ops.
        """
        explained = await _read(self._explained(msg, args.strip()))
        try:
            await result_within(self._bot.reactor, _LONGEST_WRITE, self._journal.check())
        except (JournalError, TimedOut) as error:
            reason = str(error) or "the disk does not respond"
            explained.insert(0, f"Requests can't be recorded, and results and messages aren't stored: {reason}")
        return "\n".join(shown_lines(explained, _EXPLAINED)[:_MOST_LINES])

    async def _explained(self, msg: Message, subject: str) -> list[str]:
        bot, journal = self._bot, self._journal
        allowed = bot.disclosure.allowed(bot.backend, msg)
        explainer = Explainer(journal, journal.outbox.find, bot.present, bot.now(), allowed)
        return [line for answer in await explainer.answers(subject) for line in answer.lines()]

    @property
    def _journal(self) -> Journal:
        return self._bot.journal

    @property
    def _queue(self) -> DeliveryQueue:
        return self._bot.delivery_queue

    def _webhooks(self, args: str) -> list[str]:
        """Return the webhooks of a name or path. It may be that of an inactive plugin."""
        words = _split(args)
        own = (word for word in words if ":" in word)
        return self._named(words, {*self._hooks().values(), *self._queue.paused, *own})

    def _named(self, words: Sequence[str], known: Collection[str]) -> list[str]:
        """Return the webhooks among the known ones that are named: one by its name or path, or all of a plugin."""
        if len(words) != 1:
            raise CommandError("Name a webhook, as Plugin:method, or a plugin.")
        with _errors_in_replies():
            name = parse_webhook(words[0], self._hooks(), known)
        return sorted(webhook for webhook in known if f"{webhook}:".startswith(f"{name}:")) or [name]

    def _hooks(self) -> dict[str, str]:
        return {route.rule: route.hook.full_name for route in self._bot.web.routes.hooks()}

    async def _parsed(self, parse: Callable[..., T], words: Sequence[str]) -> T:
        return self._checked(parse, words, await _read(self._journal.webhooks()))

    def _checked(self, parse: Callable[..., T], words: Sequence[str], webhooks: Iterable[str]) -> T:
        with _errors_in_replies():
            return parse(words, self._bot.now(), self._hooks(), webhooks)

    def _disclosed(self, msg: Message, delivery: StoredDelivery) -> StoredDelivery:
        """Return the delivery without reasons, which may be texts of exceptions, unless only an administrator reads the reply."""
        return delivery if self._bot.disclosure.allowed(self._bot.backend, msg) else delivery.without_reasons()


async def _read(result: Awaitable[T]) -> T:
    """Return the result of the journal. Raises CommandError with the error's text."""
    with _errors_in_replies():
        return await result


@contextmanager
def _errors_in_replies() -> Iterator[None]:
    try:
        yield
    except JournalError as error:
        raise CommandError(plain(str(error))) from error
    except InvalidWords as error:
        raise CommandError(f"{plain(truncated(str(error), 2 * _LINE))}.") from error


def _split(args: str) -> list[str]:
    try:
        return shlex.split(args)
    except ValueError as error:
        raise CommandError(f"{plain(str(error))}.") from error


def _counted(count: int) -> str:
    return f"{count} delivery" if count == 1 else f"{count} deliveries"


def _beginning(items: Sequence[str]) -> str:
    return ", ".join(items[:20]) + (" …" if items[20:] else "")
