"""Operations of administrators on webhooks and their deliveries, in a chat, on the command line and on a web page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from errklein.commands.operations import Actor, operation
from errklein.journal._archive import JournalArchive
from errklein.journal._queue import DeliveryQueue
from errklein.webhooks.deliveries import DeliveryQuery, DeliveryState, StoredDelivery
from errklein.webhooks.delivery_words import (
    MAX_COUNT,
    counted_query,
    next_page,
    parse_list,
    parse_replay,
    parse_webhook,
)
from errklein.webhooks.explained import (
    BotState,
    Explainer,
    Explanation,
    Messages,
    Records,
    Step,
    fetched,
    names_by_path,
)
from errklein.webhooks.exported import grouped, not_recorded, summary
from errklein.webhooks.precedence import RouteInfo

_DAY = 86400.0
_OPTIONS = ("form_param", "raw", "dedupe", "dedupe_window", "attempts", "ordered", "max_body", "timeout")
"""The options that the summary of a declaration doesn't have."""


Queue = DeliveryQueue | JournalArchive


@dataclass(frozen=True)
class DeliveryPage:
    """Deliveries, newest first.

    :param is_grouped: Whether the lines are those of groups with the same reason.
    :param counted: The number of deliveries in this time that were only counted.
    :param older: The words that select the next page; "" if there is none.
    """

    deliveries: Sequence[StoredDelivery]
    is_grouped: bool
    counted: int
    older: str

    def lines(self) -> list[str]:
        """Return the page as lines of plain text. Mask them before they are shown."""
        lines = grouped(self.deliveries) if self.is_grouped else map(summary, self.deliveries)
        return [*lines, *not_recorded(self.counted)]


@dataclass(frozen=True)
class ReplayResult:
    """The result of a replay.

    :param begun: The deliveries that run again, as they were before, without their requests.
    :param repeated: The ids of those that the source has repeated, with the ids of the later ones.
    :param others: The ids of those that are unknown, due or running already, or without a stored body.
    """

    begun: Sequence[StoredDelivery]
    repeated: dict[int, int]
    others: Sequence[int]


@dataclass(frozen=True)
class WebhookInfo:
    """A webhook of a plugin: its URL, and the options as the operator has configured them.

    :param options: The options that differ from the default, without those of the summary.
    :param shadowed_by: The webhook that gets the requests of some methods; "" if there is none.
    """

    name: str
    url: str
    methods: Sequence[str]
    summary: str
    options: dict[str, object]
    paused: bool
    shadowed_by: str

    def lines(self) -> list[str]:
        """Return the line of a list, and those with further details."""
        ending = ", paused" if self.paused else ""
        lines = [f"{self.url} -> {self.name} [{', '.join(self.methods)}], {self.summary}{ending}"]
        lines += [f"Options: {', '.join(f'{name}={value!r}' for name, value in self.options.items())}"] * bool(
            self.options
        )
        lines += [f"Requests go to {self.shadowed_by}, which has the same URL."] * bool(self.shadowed_by)
        return lines


@dataclass(frozen=True)
class WebhookReport:
    """What is known of a webhook.

    :param found: Its URLs and options; none if no plugin has it.
    :param explanations: Its state, and what has become of the latest requests.
    :param states: The numbers of the deliveries of 24 hours, at most MAX_COUNT, by state.
    :param counted: The number of those that were only counted.
    :param responses: The number of responses since the start; None if no bot runs in this process.
    """

    name: str
    found: Sequence[WebhookInfo]
    explanations: Sequence[Explanation]
    states: dict[DeliveryState, int]
    counted: int
    responses: int | None

    def lines(self) -> list[str]:
        """Return the report as lines of plain text. Mask them before they are shown."""
        lines = [line for one in self.found for line in one.lines()]
        if not self.found and self.responses is None:
            # A running bot explains why it has no such webhook.
            lines.append(f"{self.name}: no plugin has this webhook")
        lines += [line for one in self.explanations for line in one.lines()]
        numbers = [*(f"{number} {state}" for state, number in self.states.items()), *not_recorded(self.counted)]
        if numbers:
            period = f"Of the last {MAX_COUNT} requests" if sum(self.states.values()) == MAX_COUNT else "In 24 hours"
            lines.append(f"{period}: {', '.join(numbers).removeprefix('and ')}")
        return [
            *lines,
            *([] if self.responses is None else [f"Responses since the start of the bot: {self.responses}"]),
        ]


class WebhookOperations:
    """Lists, explains, replays and pauses.

    :param records: The deliveries.
    :param messages: Returns records of messages; see `OutboxStore.find`.
    :param queue: Replays and pauses: the queue of a running bot, or the file of a journal, which such a queue reads.
    :param state: What is known beside them.
    """

    def __init__(self, records: Records, messages: Messages, queue: Queue, state: BotState) -> None:
        self._records = records
        self._messages = messages
        self._queue = queue
        self._state = state

    @operation("webstatus")
    def webhooks(self, by: Actor) -> list[WebhookInfo]:
        """Return the webhooks of the plugins."""
        return [self._info(route) for route in self._state.routes()]

    @operation("webhook_show", "name")
    async def webhook(self, by: Actor, name: str) -> list[WebhookReport]:
        """Return what is known of a webhook, of all of a plugin, or of the one at a path; see `named`."""
        routes, recorded = self._state.routes(), await fetched(self._records.webhooks())
        day = DeliveryQuery(since=self._state.now() - _DAY, limit=MAX_COUNT)
        reports = []
        for one in self.named(name, recorded):
            query = replace(day, webhook=one)
            numbers = Counter(delivery.state for delivery in await fetched(self._records.find(query)))
            states = {state: numbers[state] for state in DeliveryState if numbers[state]}
            found = [self._info(route) for route in routes if route.hook.full_name == one]
            explained = await self._explainer(by).answers(one)
            counted, responses = await fetched(self._records.counted(query)), self._state.responses(one)
            reports.append(WebhookReport(one, found, explained, states, counted, responses))
        return reports

    @operation("webhook_pause")
    def paused(self, by: Actor) -> list[str]:
        """Return the webhooks that are paused, also those of inactive plugins."""
        return sorted(self._state.paused)

    @operation("webhook_pause", "webhook")
    async def pause(self, by: Actor, webhook: str) -> None:
        """Let the deliveries of a webhook wait: requests are verified, recorded and get 202."""
        await fetched(self._queue.set_paused(webhook, True))

    @operation("webhook_resume", "webhook")
    async def resume(self, by: Actor, webhook: str) -> None:
        """Run the deliveries of a paused webhook."""
        await fetched(self._queue.set_paused(webhook, False))

    @operation("delivery_list", "words")
    async def deliveries(self, by: Actor, words: Sequence[str], most: int = MAX_COUNT) -> DeliveryPage:
        """Return the deliveries that the words select; see `parse_list`. At most `most` are on a page that isn't grouped."""
        query, is_grouped = parse_list(words, self._state.now(), *await self._names())
        query = query if is_grouped else replace(query, limit=min(query.limit, most))
        found = await fetched(self._records.find(query))
        counted = await fetched(self._records.counted(counted_query(query, found)))
        older = next_page(words, found[-1].id) if found and len(found) == query.limit else ""
        return DeliveryPage([_readable(one, by) for one in found], is_grouped, counted, older)

    @operation("delivery_show", "id")
    async def delivery(self, by: Actor, id: int) -> StoredDelivery | None:
        """Return a delivery with its request and attempts; None if it is unknown."""
        found = await fetched(self._records.get(id))
        return None if found is None else _readable(found, by)

    @operation("delivery_replay", "words")
    async def replay(self, by: Actor, words: Sequence[str]) -> ReplayResult:
        """Run the deliveries once more that the words select; see `parse_replay`."""
        given = parse_replay(words, self._state.now(), *await self._names())
        ids = given.ids or [one.id for one in await fetched(self._records.find(given.query))]
        before = {one.id: one for one in await fetched(self._records.find(DeliveryQuery(ids=ids, limit=len(ids))))}
        begun = set(await fetched(self._queue.replay(ids, given.force, by.name)))
        left = [one for one in ids if one not in begun]
        later = {} if given.force else {one: before[one].superseded_by for one in left if one in before}
        repeated = {one: other for one, other in later.items() if other}
        return ReplayResult(
            [before[one] for one in ids if one in begun], repeated, [one for one in left if one not in repeated]
        )

    @operation("why", "subject")
    async def why(self, by: Actor, subject: str) -> list[Explanation]:
        """Explain the state of a delivery, webhook or room; see `Explainer.answers`."""
        explained = list(await self._explainer(by).answers(subject))
        if problem := await self._state.problem():
            nothing = "Requests can't be recorded, and results and messages aren't stored"
            explained.insert(0, Explanation(nothing, [Step(problem)]))
        return explained

    def named(self, name: str, known: Collection[str]) -> list[str]:
        """Return the webhooks among those of plugins and the known ones that are named: one, or all of a plugin.

        :raises UnknownWebhook: There is none.
        """
        paths = names_by_path(self._state.routes())
        known = {*paths.values(), *known}
        found = parse_webhook(name, paths, known)
        return sorted(webhook for webhook in known if f"{webhook}:".startswith(f"{found}:"))

    async def _names(self) -> tuple[dict[str, str], Sequence[str]]:
        return names_by_path(self._state.routes()), await fetched(self._records.webhooks())

    def _explainer(self, by: Actor) -> Explainer:
        return Explainer(self._records, self._messages, self._state, by.reads_details)

    def _info(self, route: RouteInfo) -> WebhookInfo:
        declared, name = route.hook.declaration, route.hook.full_name
        options = {option: value for option in _OPTIONS if (value := getattr(declared, option))}
        methods = sorted(route.methods or declared.methods)
        shadowed_by, paused = str(route.shadowed_by or ""), name in self._state.paused
        return WebhookInfo(name, self._state.site + route.rule, methods, declared.summary, options, paused, shadowed_by)


def _readable(delivery: StoredDelivery, by: Actor) -> StoredDelivery:
    """Return the delivery, without reasons, which may be texts of exceptions, unless only an administrator reads them."""
    return delivery if by.reads_details else delivery.without_reasons()
