"""Operations of administrators on webhooks and their deliveries, in a chat, on the command line and on a web page. One
of them answers why a delivery, message, webhook or room is as it is: first as values, then as text."""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import NamedTuple, Protocol, TypeVar

from errklein.chat.outgoing import MOST_FOUND, PAUSED, MessageRecord, MessageState, Wait
from errklein.commands.operations import Actor, operation
from errklein.journal._archive import JournalArchive
from errklein.ports.journal import Journal
from errklein.webhooks import delivery_words
from errklein.webhooks.declaration import RouteInfo
from errklein.webhooks.deliveries import (
    UNFINISHED,
    Action,
    DeliveryQuery,
    DeliveryState,
    FailureGroup,
    StoredDelivery,
    Total,
)
from errklein.webhooks.delivery_words import MAX_COUNT, InvalidWords, UnknownWebhook
from errklein.webhooks.exported import described, grouped, not_recorded, shown_time, summary
from errklein.webhooks.options import RoomWebhook

T = TypeVar("T")
Records = Journal | JournalArchive
"""The journal of a running bot, whose methods return awaitables, or the file of a journal, whose methods return values."""


class Queue(Protocol):
    """Replays and pauses: `DeliveryQueue`, another process that has it, or `JournalArchive` while no bot runs."""

    def replay(
        self, ids: Sequence[int], force: bool, user: str, spacing: float = 0.0
    ) -> Awaitable[Sequence[int]] | Sequence[int]: ...

    def set_paused(self, webhook: str, paused: bool) -> Awaitable[None] | None: ...


Messages = Callable[..., Awaitable[Sequence[MessageRecord]] | Sequence[MessageRecord]]
PAUSED_WEBHOOK = "paused: requests are accepted and wait for `webhook resume`"
_ROOM_MARKS = ("#", "&", "+", "!")
_REQUEST_ID = re.compile(r"[0-9a-f]{10}-[0-9a-f]{6,16}")
_MOST_LOST = 5  # the number of messages to a room that were dropped or rejected: the latest ones
_DAY, _LONGEST_REPLAY = 86400.0, 7200.0
_OPTIONS = ("form_param", "raw", "dedupe", "dedupe_window", "attempts", "ordered", "max_body", "timeout")
"""The options that the summary of a declaration doesn't have."""

_OPTIONS_OF_ROOMS = ("events", "text", "template", "messages", "rate", "rooms")


async def fetched(result: Awaitable[T] | T) -> T:
    """Return the result of a method of `Records`."""
    return await result if isinstance(result, Awaitable) else result


@dataclass
class BotState:
    """What is known of a bot beside its records: here, of one in another process, or of one that doesn't run."""

    networks: Collection[str] = ()
    paused: Collection[str] = ()
    site: str = ""  # the URL of the bot, before the paths of webhooks
    unknown: str = "no bot is running"  # the state of what only the running bot knows
    routes: Callable[[], Sequence[RouteInfo]] = tuple  # as far as they are known
    room_webhook: Callable[[str], RoomWebhook | None] = lambda name: None
    now: Callable[[], float] = lambda: time.time()  # noqa: PLW0108 -- tests replace it
    refused: Callable[[], Sequence[StoredDelivery]] = tuple
    """Returns the last refused request of each webhook since the start, whether it could be recorded or not."""
    responses: Callable[[str], int | None] = lambda webhook: None
    """Returns the number of a webhook's responses since the start; None if it isn't known."""

    def maker_of(self, webhook: RoomWebhook) -> str:
        """Return the room of a webhook, with its network if there are several, and who has made it, as a clause."""
        network, _, room = webhook.room.partition(":")
        room = room if [network] == list(self.networks) else webhook.room
        who = "the configuration file" if webhook.is_from_file else webhook.made_by
        return f"made in {room}{f' by {who}' if who else ''}"

    async def problem(self) -> str:
        """Return why nothing can be stored; "" if it can, or if that isn't known."""
        return ""

    def webhook_status(self, webhook: str) -> Wait:
        """Return whether a webhook is active, or why its requests don't run."""
        return Wait(PAUSED_WEBHOOK if webhook in self.paused else "not paused")

    def room_status(self, network: str, name: str) -> Wait | None:
        """Return whether the bot is in a room, and why not; None if it should not be there, or if that isn't known."""
        return Wait(self.unknown)

    def recipient(self, network: str, name: str) -> str:
        """Return the name by which messages to a room wait, such as the id that an alias means."""
        return name

    def wait_of_delivery(self, delivery: StoredDelivery) -> Wait | None:
        """Return what a delivery that has not ended waits for; None if its handler runs."""
        if delivery.webhook in self.paused:
            return Wait("the webhook is paused")
        if delivery.state is DeliveryState.RETRY and delivery.due_at > self.now():
            return Wait("the attempt has failed", again_at=delivery.due_at)
        return Wait(self.unknown)

    def wait_of_message(self, record: MessageRecord) -> Wait | None:
        """Return what a message waits for; None if it doesn't wait any more."""
        return Wait(self.unknown)


def names_by_path(routes: Iterable[RouteInfo]) -> dict[str, str]:
    """Return the webhooks as "Plugin:method", by that name and by the URL path whose requests they get."""
    routes = list(routes)
    paths = {route.rule: route.hook.full_name for route in routes if not route.shadowed_by}
    return {route.hook.full_name: route.hook.full_name for route in routes} | paths


class Step(NamedTuple):
    """An event such as "accepted", its Unix time (0.0 if unknown), and details."""

    event: str
    at: float = 0.0
    details: str = ""

    def __str__(self) -> str:
        time = f" {shown_time(self.at)}" if self.at else ""
        return f"{self.event}{time}{f' ({self.details})' if self.details else ''}"


@dataclass(frozen=True)
class Explanation:
    """What has happened to something, and what it waits for."""

    subject: str  # a delivery, message, webhook or room, such as "delivery 4711 of Github:notification"
    steps: Sequence[Step] = ()  # in order
    wait: Wait | None = None
    parts: Sequence[Explanation] = ()
    """The messages of a delivery, or the latest requests of a webhook, or lost messages to a room."""
    state: Wait | None = None

    def lines(self) -> list[str]:
        """Return the answer as lines of plain text. Mask them before they are shown."""
        clauses = [*([shown_wait(self.state)] if self.state else ()), *map(str, self.steps)]
        clauses += [f"waits: {shown_wait(self.wait)}"] if self.wait else []
        head, parts = f"{self.subject}: {', '.join(clauses)}", [line for part in self.parts for line in part.lines()]
        if len(parts) == 1:
            return [f"{head}; {parts[0]}"]
        return [head, *(f"  {line}" if line.startswith("- ") else f"- {line}" for line in parts)]


def shown_wait(wait: Wait) -> str:
    """Return a state as text, such as `the bot isn't in #ops since TIME (invite only (+i)); next attempt TIME`."""
    since = f" since {shown_time(wait.since)}" if wait.since else ""
    cause = f" ({wait.cause})" if wait.cause else ""
    again = f"; next attempt {shown_time(wait.again_at)}" if wait.again_at else ""
    return f"{wait.state}{since}{cause}{again}"


@dataclass(frozen=True)
class Explainer:
    """Explains deliveries, webhooks and rooms."""

    records: Records
    messages: Messages
    state: BotState
    with_reasons: bool = True

    async def answers(self, subject: str) -> Sequence[Explanation]:
        """Return the answers about the id of a delivery or request, a webhook, plugin, path, room or person, or the
        last "refused" request. A room may be that of one network, as in "libera:#ops". Raises InvalidWords."""
        ids = delivery_words.parse_ids([subject])
        if ids is not None:
            return [await self._of_id(ids[0])]
        if subject == "refused":
            return [await self._explained(one) for one in await self._last_refused(None)] or [
                Explanation("refused", [Step("no refused request is recorded; those that get 404 or 405 aren't")])
            ]
        if _REQUEST_ID.fullmatch(subject):
            recorded = await fetched(self.records.find(DeliveryQuery(request_id=subject)))
            unrecorded = [one for one in self.state.refused() if one.request_id == subject]
            return [await self._explained(one) for one in recorded or unrecorded] or [
                Explanation(f"request {subject}", [Step("it isn't recorded; the log has its line")])
            ]
        network, _, name = subject.partition(":")
        room = name if network in self.state.networks else subject
        if room.startswith(_ROOM_MARKS):
            return await self._of_room(room, network if room == name else "")
        paths = names_by_path(self.state.routes())
        known = [*paths.values(), *await fetched(self.records.webhooks())]
        try:
            named = delivery_words.parse_list([subject], self.state.now(), paths, known)[0].webhook
        except InvalidWords as error:
            waiting = await fetched(self.messages(recipient=room))
            unknown = (None, Wait(self.state.unknown))
            if waiting or any(self.state.room_status(one, room) not in unknown for one in self.state.networks):
                return await self._of_room(room, network if room == name else "")
            if subject and isinstance(error, UnknownWebhook):
                raise
            named = None
        found = sorted({webhook for webhook in known if f"{webhook}:".startswith(f"{named}:")})
        if not found:
            raise InvalidWords(
                f"expected the id of a delivery or request, a room, Plugin:method, Plugin, the name or path of a webhook, or refused, not {subject!r}"
            )
        return [await self._of_webhook(webhook) for webhook in found]

    async def _of_id(self, number: int) -> Explanation:
        unrecorded = {one.id: one for one in self.state.refused()}
        found = await fetched(self.records.get(number)) or unrecorded.get(number)
        if found is None:
            raise InvalidWords(f"there is no delivery {number}")
        return await self._explained(found)

    async def _last_refused(self, webhook: str | None) -> Sequence[StoredDelivery]:
        query = DeliveryQuery(webhook=webhook, states=(DeliveryState.REFUSED,), limit=1)
        recorded = await fetched(self.records.find(query))
        of_webhook = [one for one in self.state.refused() if webhook in (None, one.webhook)]
        return sorted([*recorded, *of_webhook], key=lambda one: one.id)[-1:]

    async def _of_webhook(self, webhook: str) -> Explanation:
        last = await fetched(self.records.find(DeliveryQuery(webhook=webhook, limit=1)))
        latest = [*last, *await self._last_refused(webhook)]
        query = DeliveryQuery(webhook=webhook, states=UNFINISHED, limit=MAX_COUNT)
        unfinished = await fetched(self.records.find(query))
        steps = []
        if unfinished:
            number, which = _number(len(unfinished), MAX_COUNT)
            verb = "delivery has" if number == "1" else "deliveries have"
            steps.append(Step(f"{number} {verb} not ended, {which} accepted", unfinished[-1].received_at))
            latest.append(unfinished[-1])
        if not latest:
            steps.append(Step("no request is recorded"))
        requests = {one.id: one for one in latest}.values()
        parts = [await self._explained(one) for one in requests]
        status = self.state.webhook_status(webhook)
        if of_room := self.state.room_webhook(webhook):
            status = status._replace(state=f"{self.state.maker_of(of_room)}, {status.state}")
        return Explanation(webhook, steps, None, parts, status)

    async def _explained(self, delivery: StoredDelivery) -> Explanation:
        stored = await fetched(self.records.get(delivery.id))
        delivery = delivery if stored is None else stored
        delivery = delivery if self.with_reasons else delivery.without_reasons()
        wait = self.state.wait_of_delivery(delivery) if delivery.state in UNFINISHED else None
        parts = self._messages(await fetched(self.messages(delivery=delivery.id)))
        earlier = 0
        if delivery.state is DeliveryState.DUPLICATE:
            query = DeliveryQuery(webhook=delivery.webhook, key=delivery.key, before=delivery.id)
            same = await fetched(self.records.find(query))
            earlier = next((one.id for one in same if one.state is not DeliveryState.DUPLICATE), 0)
        # It was leased, and its handler was not called yet.
        is_begun = delivery.state is not DeliveryState.RUNNING or wait is None
        steps = _steps(delivery if is_begun else delivery._replace(state=DeliveryState.RECEIVED), earlier)
        if delivery.state is DeliveryState.DONE and not parts:
            steps.append(Step("no message of it is recorded"))
        return Explanation(f"delivery {delivery.id} of {delivery.webhook}", steps, wait, parts)

    def _messages(self, records: Sequence[MessageRecord], of: str = "") -> list[Explanation]:
        """Return explanations of messages, one for those with the same recipient and fate."""
        groups: dict[MessageRecord, list[MessageRecord]] = {}
        for record in records:
            groups.setdefault(record._replace(id=0, at=0.0), []).append(record)
        explanations = []
        for group in groups.values():
            record = group[-1]
            subject = "message" if len(group) == 1 else f"{len(group)} messages"
            subject += of.format(record.delivery) if record.delivery else ""
            subject += f" to {record.recipient} on {record.network.removeprefix(PAUSED)}"
            if record.state is MessageState.WAITING:
                accepted = [Step("accepted", group[0].at)]
                explanations.append(Explanation(subject, accepted, self._wait_of_message(group[0])))
            else:
                is_shown = self.with_reasons or record.state is not MessageState.REJECTED
                explanations.append(Explanation(subject, [Step(record.state, record.at, record.reason * is_shown)]))
        return explanations

    def _wait_of_message(self, record: MessageRecord) -> Wait:
        if record.network.startswith(PAUSED):
            return Wait("it was restored and is paused; after `errklein release-messages`, the next start sends it")
        return self.state.wait_of_message(record) or Wait("it is about to be sent")

    async def _of_room(self, name: str, only: str) -> Sequence[Explanation]:
        recipients = dict.fromkeys([name, *(self.state.recipient(network, name) for network in self.state.networks)])
        records = [record for one in recipients for record in await fetched(self.messages(recipient=one))]
        networks = dict.fromkeys([*self.state.networks, *(one.network.removeprefix(PAUSED) for one in records)])
        answers = []
        for network in networks if not only else [only]:
            own = [one for one in records if one.network.removeprefix(PAUSED) == network]
            status = self.state.room_status(network, name)
            if status or own:
                answers.append(self._room(name, network, status, own))
        unknown = (
            "no message waits, and the bot isn't in it; it joins rooms of CHATROOM_PRESENCE and those of `room join`"
        )
        return answers or [Explanation(name, [Step(unknown)])]

    def _room(self, name: str, network: str, status: Wait | None, records: Sequence[MessageRecord]) -> Explanation:
        waiting = [record for record in records if record.state is MessageState.WAITING]
        lost = self._messages([one for one in records if one.state is not MessageState.WAITING], " of {}")[-_MOST_LOST:]
        step, wait = Step("no message waits"), None
        if waiting:
            of = ", ".join(dict.fromkeys(str(record.delivery) for record in waiting if record.delivery))
            number, which = _number(len(waiting), MOST_FOUND)
            waits = "1 message waits" if number == "1" else f"{number} messages wait, {which}"
            details = f"of deliveries {of}" if "," in of else f"of delivery {of}" if of else ""
            step = Step(f"{waits} since", waiting[0].at, details)
            wait = self._wait_of_message(waiting[0])
        return Explanation(f"{name} on {network}", [step], None if wait == status else wait, lost, status)


def _number(count: int, most: int) -> tuple[str, str]:
    """Return the number of what a query has found, and which one the first is: the query returns the latest ones."""
    return (str(count), "the oldest") if count < most else (f"{count} or more", "one of them")


def _steps(delivery: StoredDelivery, earlier: int) -> list[Step]:
    """Return what has happened to a delivery. `earlier` is the id of the one that a duplicate repeats, or 0."""
    state, outcome, number = delivery.state, delivery.outcome, delivery.attempt
    accepted = Step("accepted", delivery.received_at, delivery.origin)
    again = [Step(f"the source has repeated it as {delivery.superseded_by}")] if delivery.superseded_by else []
    if state is DeliveryState.REFUSED:
        client = f"from {delivery.request.client}" if delivery.request and delivery.request.client else ""
        reason = f"{outcome.status}: {outcome.reason}".rstrip(": ") if outcome else ""
        refused = Step("refused", delivery.received_at, "; ".join(filter(None, (reason, client))))
        return [refused, *(again or [Step("it isn't stored, so the source must send it again")])]
    if state is DeliveryState.DUPLICATE:
        before = f"the source has sent it before, as {earlier}" if earlier else "sent before"
        return [accepted, Step("not run", 0.0, before)]
    if not number or state is DeliveryState.RECEIVED:
        return [accepted, *again]
    event = {DeliveryState.DONE: "ran", DeliveryState.RUNNING: "runs"}.get(state, "failed")
    result = described(outcome) if outcome and state is not DeliveryState.RUNNING else ""
    attempt = f"attempt {number}" if number > 1 else ""
    steps = [accepted, Step(event, delivery.began_at, ", ".join(filter(None, (attempt, result)))), *again]
    if state in (DeliveryState.DEAD, DeliveryState.FAILED) and not again:
        steps.append(Step("it runs again only if it is replayed, or the source repeats it"))
    return steps


@dataclass(frozen=True)
class DeliveryPage:
    """Deliveries, newest first."""

    deliveries: Sequence[StoredDelivery]
    is_grouped: bool  # whether the lines are those of groups with the same reason
    counted: int  # the number of deliveries in this time that were only counted
    older: str  # the words that select the next page; "" if there is none

    def lines(self) -> list[str]:
        lines = grouped(self.deliveries) if self.is_grouped else map(summary, self.deliveries)
        return [*lines, *not_recorded(self.counted)]


@dataclass(frozen=True)
class ReplayResult:
    """The result of a replay."""

    begun: Sequence[StoredDelivery]  # those that run again, as they were before, without their requests
    repeated: dict[int, int]  # the ids of those that the source has repeated, with the ids of the later ones
    others: Sequence[int]  # the ids of those that are unknown, due or running already, or without a stored body


@dataclass(frozen=True)
class WebhookInfo:
    """A webhook: its URL, without a token, and the options as the operator has configured them."""

    name: str
    url: str
    methods: Sequence[str]
    summary: str
    options: dict[str, object]  # the options that differ from the default, without those of the summary
    paused: bool
    shadowed_by: str  # the webhook that gets the requests of some methods; "" if there is none
    rooms: Sequence[str] = ()  # of a webhook of a room

    def lines(self) -> list[str]:
        ending = ", paused" if self.paused else ""
        lines = [f"{self.url} -> {self.name} [{', '.join(self.methods)}], {self.summary}{ending}"]
        lines += [f"Options: {', '.join(f'{name}={value!r}' for name, value in self.options.items())}"] * bool(
            self.options
        )
        lines += [f"Requests go to {self.shadowed_by}, which has the same URL."] * bool(self.shadowed_by)
        return lines


@dataclass(frozen=True)
class WebhookReport:
    """What is known of a webhook."""

    name: str
    found: Sequence[WebhookInfo]  # its URLs and options; none if no plugin has it
    explanations: Sequence[Explanation]  # its state, and what has become of the latest requests
    day: Total  # the numbers of 24 hours, from the beginning of their first hour
    responses: int | None  # the number of responses since the start; None if no bot runs in this process

    def lines(self) -> list[str]:
        lines = [line for one in self.found for line in one.lines()]
        if not self.found and self.responses is None:
            # A running bot explains why it has no such webhook.
            lines.append(f"{self.name}: no plugin has this webhook")
        lines += [line for one in self.explanations for line in one.lines()]
        numbers = self.day._replace(accepted=self.day.accepted + self.day.counted)._asdict()
        names = "accepted", "refused", "repeated", "failed", "dead"
        if shown := [f"{numbers[name]} {name}" for name in names if numbers[name]]:
            lines.append(f"In 24 hours: {', '.join(shown)}")
        if self.responses is not None:
            lines.append(f"Responses since the start of the bot: {self.responses}")
        return lines


class WebhookOperations:
    """Lists, explains, replays and pauses."""

    def __init__(self, records: Records, messages: Messages, queue: Queue, state: BotState) -> None:
        self._records = records
        self._messages = messages
        self._queue = queue
        self._state = state

    @operation("webstatus")
    def webhooks(self, by: Actor, names: Collection[str] | None = None) -> list[WebhookInfo]:
        """Return the webhooks of the plugins and of rooms, or those with these names."""
        routes = self._state.routes()
        return [self._info(one) for one in routes if names is None or one.hook.full_name in names]

    @operation("webhook_show", "name")
    async def webhook(self, by: Actor, name: str) -> list[WebhookReport]:
        """Return what is known of a webhook, of all of a plugin, or of the one at a path; see `named`."""
        routes, recorded = self._state.routes(), await fetched(self._records.webhooks())
        reports, now = [], self._state.now()
        for one in self.named(name, recorded):
            hours = await fetched(self._records.totals(now - _DAY, now, 3600, one))
            day = Total(*map(sum, zip(*hours, strict=True)))
            found = [self._info(route) for route in routes if route.hook.full_name == one]
            explained = await self._explainer(by).answers(one)
            reports.append(WebhookReport(one, found, explained, day, self._state.responses(one)))
        return reports

    @operation("webhook_pause")
    def paused(self, by: Actor) -> list[str]:
        """Return the webhooks that are paused, also those of inactive plugins."""
        return sorted(self._state.paused)

    @operation("webhook_pause", "webhook", changes=True)
    async def pause(self, by: Actor, webhook: str) -> None:
        """Let the deliveries of a webhook wait: requests are verified, recorded and get 202."""
        await fetched(self._queue.set_paused(webhook, True))

    @operation("webhook_resume", "webhook", changes=True)
    async def resume(self, by: Actor, webhook: str) -> None:
        await fetched(self._queue.set_paused(webhook, False))

    @operation("delivery_list", "words")
    async def deliveries(self, by: Actor, words: Sequence[str], most: int = MAX_COUNT) -> DeliveryPage:
        """Return the deliveries that the words select; see `parse_list`. At most `most` are on a page that isn't grouped."""
        query, is_grouped = delivery_words.parse_list(words, self._state.now(), *await self._names())
        query = query if is_grouped else replace(query, limit=min(query.limit, most))
        found = await fetched(self._records.find(query))
        counted = await fetched(self._records.counted(delivery_words.counted_query(query, found)))
        older = delivery_words.next_page(words, found[-1].id) if found and len(found) == query.limit else ""
        return DeliveryPage([_readable(one, by) for one in found], is_grouped, counted, older)

    @operation("delivery_list")
    async def totals(
        self, by: Actor, since: float, until: float, step: int, webhook: str | None = None
    ) -> Sequence[Total]:
        """Return the numbers of each step of time; see `Journal.totals`."""
        return await fetched(self._records.totals(since, until, step, webhook))

    @operation("delivery_list")
    async def failures(self, by: Actor, since: float = 0.0, webhook: str = "", key: str = "") -> Sequence[FailureGroup]:
        """Return groups of deliveries that failed for the same reason; see `Journal.failures`."""
        found = await fetched(self._records.failures(since, webhook, key))
        return found if by.reads_details else [one._replace(reason="") for one in found]

    @operation("delivery_list", "text")
    async def search(self, by: Actor, text: str, before: int | None = None) -> tuple[Sequence[StoredDelivery], int]:
        """Return the deliveries with an id, and the one down to which was searched; see `Journal.search`."""
        found, down_to = await fetched(self._records.search(text, before))
        return [_readable(one, by) for one in found], down_to

    @operation("webstatus")
    async def last_requests(self, by: Actor, webhooks: Sequence[str] | None = None) -> Sequence[StoredDelivery]:
        return [_readable(one, by) for one in await fetched(self._records.last_requests(webhooks))]

    @operation("plugin_info")
    async def actions(self, by: Actor, before: int | None = None) -> Sequence[Action]:
        """Return what people have done with the bot, the latest first."""
        return await fetched(self._records.actions(before))

    @operation("delivery_show", "id")
    async def delivery(self, by: Actor, id: int) -> StoredDelivery | None:
        found = await fetched(self._records.get(id))
        return None if found is None else _readable(found, by)

    @operation("delivery_replay", "words", changes=True)
    async def replay(self, by: Actor, words: Sequence[str], dry: bool = False) -> ReplayResult:
        """Run the deliveries once more that the words select; see `parse_replay`. With `dry`, only return what would run."""
        given = delivery_words.parse_replay(words, self._state.now(), *await self._names())
        ids = given.ids or [one.id for one in await fetched(self._records.find(given.query))]
        before = {one.id: one for one in await fetched(self._records.find(DeliveryQuery(ids=ids, limit=len(ids))))}
        if given.spacing:
            self._check_rate(given.spacing, before.values())
        if dry:
            begun = set(await fetched(self._records.replayable(ids, given.force)))
        else:
            begun = set(await fetched(self._queue.replay(ids, given.force, by.name, given.spacing)))
        left = [one for one in ids if one not in begun]
        later = {} if given.force else {one: before[one].superseded_by for one in left if one in before}
        repeated = {one: other for one, other in later.items() if other}
        others = [one for one in left if one not in repeated]
        return ReplayResult([before[one] for one in ids if one in begun], repeated, others)

    def _check_rate(self, spacing: float, deliveries: Collection[StoredDelivery]) -> None:
        if spacing * (len(deliveries) - 1) > _LONGEST_REPLAY:
            text = f"{len(deliveries)} deliveries would take over two hours at this rate; replay fewer, or faster"
            raise InvalidWords(text)
        ordered = {one.hook.full_name for one in self._state.routes() if one.hook.declaration.ordered}
        if found := ordered.intersection(one.webhook for one in deliveries):
            text = f"the deliveries of {min(found)} run in order, one after the other; replay them without a rate"
            raise InvalidWords(text)

    @operation("why", "subject")
    async def why(self, by: Actor, subject: str) -> list[Explanation]:
        """Explain the state of a delivery, webhook or room; see `Explainer.answers`."""
        explained = list(await self._explainer(by).answers(subject))
        if problem := await self._state.problem():
            nothing = "Requests can't be recorded, and results and messages aren't stored"
            explained.insert(0, Explanation(nothing, [Step(problem)]))
        return explained

    def named(self, name: str, known: Collection[str]) -> list[str]:
        """Return the webhooks that a name means, one or all of a plugin, also known ones. Raises UnknownWebhook."""
        paths = names_by_path(self._state.routes())
        known = {*paths.values(), *known}
        found = delivery_words.parse_webhook(name, paths, known)
        return sorted(webhook for webhook in known if f"{webhook}:".startswith(f"{found}:"))

    async def _names(self) -> tuple[dict[str, str], Sequence[str]]:
        return names_by_path(self._state.routes()), await fetched(self._records.webhooks())

    def _explainer(self, by: Actor) -> Explainer:
        return Explainer(self._records, self._messages, self._state, by.reads_details)

    def _info(self, route: RouteInfo) -> WebhookInfo:
        declared, name = route.hook.declaration, route.hook.full_name
        options = {option: value for option in _OPTIONS if (value := getattr(declared, option))}
        methods, summary = sorted(route.methods or declared.methods), declared.summary
        rooms: Sequence[str] = ()
        if of_room := self._state.room_webhook(name):
            title = declared.source_name if declared.source is None else declared.source.title
            rooms = of_room.rooms or (of_room.room,)
            summary = f"{title}, {self._state.maker_of(of_room)}, {summary.partition(', ')[0]}"
            options = _options_of(of_room)
        shadowed_by, paused = str(route.shadowed_by or ""), name in self._state.paused
        url = self._state.site + route.rule
        return WebhookInfo(name, url, methods, summary, options, paused, shadowed_by, rooms)


def _options_of(webhook: RoomWebhook) -> dict[str, object]:
    defaults = {one.name: one.default for one in fields(webhook)}
    values = {name: getattr(webhook, name) for name in _OPTIONS_OF_ROOMS}
    options = {name: value for name, value in values.items() if value != defaults[name]}
    times = {"expires": webhook.expires, "before rotation until": webhook.previous[1] if webhook.previous else 0.0}
    return options | {name: f"{datetime.fromtimestamp(at):%Y-%m-%d %H:%M}" for name, at in times.items() if at}


def _readable(delivery: StoredDelivery, by: Actor) -> StoredDelivery:
    """Return the delivery, without reasons, which may be texts of exceptions, unless only an administrator reads them."""
    return delivery if by.reads_details else delivery.without_reasons()
