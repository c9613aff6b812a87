"""The removal of what is stored of a person."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from twisted.logger import Logger

from errklein.chat import Person, RoomOccupant, UserDoesNotExistError, UserNotUniqueError, matches_any, rules_of
from errklein.chat.outgoing import MOST_FOUND, MessageState
from errklein.commands.operations import Actor, operation
from errklein.logs import destinations
from errklein.ports.chat import Backend
from errklein.ports.values import ErasesRemoved
from errklein.webhooks.deliveries import UNFINISHED, DeliveryQuery, DeliveryState, StoredDelivery
from errklein.webhooks.exported import summary

if TYPE_CHECKING:
    from errklein.bot._bot import Bot

MOST_LISTED = 20
"""The number of deliveries in a list."""

SLICE, MOST_SEARCHED = 200, 20_000
"""The number of deliveries that are searched at once, while others can't read the journal, and for a list."""

_ENDED = [state for state in DeliveryState if state not in UNFINISHED]

_COPIES = ("*backup*", "before-*", "*.before-*", "nightly*", "*.db")
"""Names of files in BOT_DATA_DIR that have values or deliveries of earlier times; the last are errbot's."""

_audit = Logger(namespace="errklein.audit")


@dataclass(frozen=True)
class NamedPerson:
    """A person on a network.

    :param only: The name in access rules, if others may have had the person's name, too; "" if all of that name are meant.
    """

    person: Person
    backend: Backend
    only: str

    @property
    def text(self) -> str:
        """The name that requests may have."""
        return str(self.person.nick or self.person.person).lstrip("@")

    @property
    def names(self) -> list[str]:
        """All names, as in settings and messages."""
        person = self.person
        return sorted({str(name) for name in (person, person.person, person.nick, person.aclattr) if name})


@dataclass(frozen=True)
class Mentions:
    """Deliveries that have ended and mention a person in headers or body.

    :param deliveries: A summary of each by its id, newest first.
    :param before: Those below this id weren't searched; 0 if all were.
    """

    name: str
    deliveries: Mapping[int, str]
    before: int

    def lines(self, command: str) -> Iterator[str]:
        """Yield the list as lines of plain text. Mask them before they are shown.

        :param command: The command that has the person as its last argument.
        """
        yield f"Deliveries that have ended and mention {self.name}: {len(self.deliveries) or 'none'}"
        yield from self.deliveries.values()
        if self.deliveries:
            yield f"To remove their headers and bodies: {command} --deliveries {' '.join(map(str, self.deliveries))}"
        if self.before:
            yield f"To search older ones: {command} --list {self.before}"


@dataclass(frozen=True)
class ForgottenPerson:
    """What was removed of a person, and what remains.

    :param removed: The numbers of what was removed, by kind.
    :param reports: What plugins say about it, by plugin.
    :param errors: The exceptions of plugins, by plugin.
    :param remaining: What has, or may have, something of the person.
    """

    name: str
    removed: Mapping[str, int]
    reports: Mapping[str, str]
    errors: Mapping[str, str]
    remaining: Sequence[str]
    mentions: Mentions

    def lines(self, command: str) -> Iterator[str]:
        """Yield the report as `Mentions.lines` does."""
        yield f"Removed of {self.name}: {', '.join(f'{kind}: {number}' for kind, number in self.removed.items())}"
        yield from (f"{plugin}: {text}" for plugin, text in self.reports.items())
        yield from (f"{plugin} has failed, so its values may remain: {text}" for plugin, text in self.errors.items())
        yield from (f"Remains: {what}" for what in self.remaining)
        yield from self.mentions.lines(command)


@dataclass(frozen=True)
class ForgottenDeliveries:
    """The ids of the deliveries whose headers and bodies were removed, and those of others, which are unknown or haven't ended."""

    ids: Sequence[int]
    others: Sequence[int]

    def lines(self, command: str) -> Iterator[str]:
        """Yield the ids as `Mentions.lines` does."""
        yield f"Headers and bodies removed of the deliveries {', '.join(map(str, self.ids)) or 'none'}"
        if self.others:
            yield f"Unknown, or not ended: {', '.join(map(str, self.others))}"


class PersonOperations:
    """Removes what is stored of people. After StorageError or JournalError, an operation can be repeated.

    All raise UserDoesNotExistError, or UserNotUniqueError with the names to choose from.
    """

    def __init__(self, bot: Bot) -> None:
        self._bot = bot

    @operation("person_forget", "person")
    async def forget(self, by: Actor, person: str) -> ForgottenPerson:
        """Remove commands, notices and records of messages, and let plugins remove their values. Deliveries are only listed."""
        named, bot = await self._find(person), self._bot
        network, notices = named.backend.network, partial(_is_recipient, named)
        _audit.info("{by} removes what is stored of a person on {network}", by=by.name, network=network)
        results, errors = await bot.plugin_manager.results_of("callback_forget_person", named.person)
        removed = {
            "commands": bot.dispatcher.histories[network].forget(named.person.person, named.only),
            "notices": await bot.notices.forget(network, notices),
            "records of messages": await bot.journal.outbox.forget(network, named.names),
        }
        remaining, mentions = await self._remaining(named, {*results, *errors}), await self._search(by, named, None)
        reports = {plugin: str(result) for plugin, result in results.items() if result is not None}
        shown = errors if by.reads_details else dict.fromkeys(errors, "the log has the reason")
        return ForgottenPerson(f"{named.person} on {network}", removed, reports, shown, remaining, mentions)

    @operation("person_forget", "person", "--list", "before")
    async def mentions(self, by: Actor, person: str, before: int | None = None) -> Mentions:
        """Return deliveries that mention a person: the newest ones, or those below an id."""
        return await self._search(by, await self._find(person), before)

    @operation("person_forget", "person", "--deliveries", "ids")
    async def forget_deliveries(self, by: Actor, person: str, ids: Sequence[int]) -> ForgottenDeliveries:
        """Remove the headers and bodies of deliveries that have ended."""
        await self._find(person)
        found = sorted(await self._bot.journal.forget(ids))
        numbers = ", ".join(map(str, found))
        _audit.info("{by} removes the headers and bodies of the deliveries {ids}", by=by.name, ids=numbers)
        return ForgottenDeliveries(found, sorted({*ids}.difference(found)))

    async def _find(self, name: str) -> NamedPerson:
        networks = {network: one for network, one in self._bot.backends.items() if one.mode != "null"}
        network, _, rest = name.partition(":")
        chosen, text = ({network: networks[network]}, rest) if network in networks and rest else (networks, name)
        # Networks of errbot's backends may ask a server.
        people, problems = await self._bot.plugin_pool.run(lambda: partial(_people, chosen, text))
        if not people:
            raise UserDoesNotExistError(
                f"{text!r} isn't the name of a person; {'; '.join(problems) or 'there is no network'}"
            )
        names = [f"{network}:{text}" for network in people]
        network, person = next(iter(people.items()))
        fold = rules_of(person).fold
        only = person.aclattr if fold(text) != fold(person.person) else ""
        if len(people) == 1 and not only:
            holders = sorted(self._bot.dispatcher.histories[network].senders(person.person))
            names = [f"{network}:{holder}" for holder in holders]
        if len(names) > 1:
            raise UserNotUniqueError(f"{text!r} is the name of several people; name one of {', '.join(names)}")
        return NamedPerson(person, networks[network], only)

    async def _search(self, by: Actor, named: NamedPerson, before: int | None) -> Mentions:
        journal, found, searched = self._bot.journal, list[StoredDelivery](), 0
        while len(found) <= MOST_LISTED and searched < MOST_SEARCHED and before != 0:
            ids = [one.id for one in await journal.find(DeliveryQuery(states=_ENDED, before=before, limit=SLICE))]
            found += await journal.find(DeliveryQuery(ids=ids, text=named.text, limit=SLICE))
            before, searched = (ids[-1] if len(ids) == SLICE else 0), searched + SLICE
        if len(found) > MOST_LISTED:
            found = found[:MOST_LISTED]
            before = found[-1].id
        readable = (one if by.reads_details else one.without_reasons() for one in found)
        return Mentions(named.text, {one.id: summary(one) for one in readable}, before or 0)

    async def _remaining(self, named: NamedPerson, asked: set[str]) -> list[str]:
        """Return what wasn't removed, after a removal. `asked` are the plugins that have removed their values."""
        bot, what = self._bot, []
        records = [one for name in named.names for one in await bot.journal.outbox.find(recipient=name)]
        own = {one.id for one in records if one.network == named.backend.network and one.state is MessageState.WAITING}
        if own:
            number = f"{MOST_FOUND} or more" if len(own) >= MOST_FOUND else len(own)
            what.append(f"messages to {named.text} that wait to be sent, at most for OUTBOX_MAX_AGE: {number}")
        depth = await bot.journal.depth()
        if number := depth.waiting + depth.running:
            what.append(f"deliveries that wait or run, and may mention {named.text}: {number}")
        core = {"core", "repomgr", *(plugin.name for plugin in bot.plugin_manager.found if plugin.plug.core)}
        erased, namespaces, copies = await bot.storage.in_background(self._erase_removed)
        if plugins := sorted({*namespaces} - core - asked):
            what.append(
                f"values of plugins that have no callback_forget_person, or aren't active: {', '.join(plugins)}"
            )
        if not erased:
            what.append("removed values, in the write-ahead log of a database that another program reads: try again")
        return [
            *what,
            f"backups, and other copies{''.join(f', {name}' for name in copies)}",
            f"the log{''.join(f', {file}' for file in destinations.files)}",
        ]

    def _erase_removed(self) -> tuple[bool, Sequence[str], Sequence[str]]:
        """Remove removed values from files. Return whether that was possible, the namespaces with values, and files with copies."""
        storage, directory = self._bot.storage, Path(self._bot.bot_config.BOT_DATA_DIR)
        copies = sorted({path.name for pattern in _COPIES for path in directory.glob(pattern)})
        erased = not isinstance(storage, ErasesRemoved) or storage.erase_removed()
        return erased, list(storage.namespaces()), copies


def _people(backends: Mapping[str, Backend], text: str) -> tuple[dict[str, Person], list[str]]:
    """Return the people of that name by network, and why others have none."""
    people, problems = dict[str, Person](), []
    for network, backend in backends.items():
        try:
            found = backend.build_identifier(text)
        except Exception as error:
            # Backends written for errbot may raise anything.
            problems.append(f"{network}: {error}")
            continue
        if isinstance(found, Person) and not isinstance(found, RoomOccupant):
            people[network] = found
        else:
            problems.append(f"{network}: it is a room, or somebody in a room")
    return people, problems


def _is_recipient(named: NamedPerson, admin: str) -> bool:
    """Return whether notices for a name in BOT_ADMINS_NOTIFICATIONS, on IRC perhaps a pattern, are for the person."""
    fold = rules_of(named.person).fold
    if not named.only and fold(admin.partition("!")[0]) == fold(named.person.person):
        return True
    return any(matches_any(rules_of(named.person), name, (admin,)) for name in named.names)
