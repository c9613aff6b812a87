"""The removal of what is stored of a person."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from errklein.chat import Person, RoomOccupant, UserDoesNotExistError, UserNotUniqueError, rules_of
from errklein.chat.outgoing import MessageState
from errklein.commands.operations import Actor, operation
from errklein.config.networks import has_people
from errklein.dispatch import name_of
from errklein.logs import destinations
from errklein.ports.values import OF_NETWORK, ErasesRemoved
from errklein.storage import OWN_NAMESPACES
from errklein.webhooks.deliveries import UNFINISHED, DeliveryQuery, DeliveryState
from errklein.webhooks.exported import summary

if TYPE_CHECKING:
    from errklein.bot._bot import Bot

MOST_LISTED, SLICE, MOST_SEARCHED = 20, 200, 20_000
"""The numbers of deliveries that are listed, searched at once while others can't read the journal, and searched in all."""

_ENDED = [state for state in DeliveryState if state not in UNFINISHED]
_COPIES = ("*backup*", "before-*", "*.before-*", "nightly*", "*.db")


@dataclass(frozen=True)
class ForgottenPerson:
    """Sentences about what was removed of a person, clauses about what remains, and summaries of deliveries that have
    ended and mention the person, by id, newest first."""

    removed: Sequence[str]
    remaining: Sequence[str]
    deliveries: Mapping[int, str]

    def lines(self, command: str) -> Iterator[str]:
        """Yield lines of plain text, to be masked. `command` is the command with the person, which gets ids of deliveries."""
        yield from (*self.removed, *(f"Remains: {what}" for what in self.remaining), *self.deliveries.values())
        if self.deliveries:
            yield f"To remove headers and bodies: {command} --deliveries {' '.join(map(str, self.deliveries))}"


class PersonOperations:
    """Removes what is stored of people. All raise UserDoesNotExistError, UserNotUniqueError, StorageError and JournalError."""

    def __init__(self, bot: Bot) -> None:
        self._bot = bot

    @operation("person_forget", "person", changes=True, hidden=("person",))
    async def forget(self, by: Actor, person: str) -> ForgottenPerson:
        """Remove commands and notices, and let plugins remove their values. Deliveries are only listed."""
        bot, (network, found, only) = self._bot, await self._find(person)
        made = await bot.room_webhooks.forget_maker(network, {name_of(found), str(found), str(found.person)})
        results, errors = await bot.plugin_manager.results_of("callback_forget_person", found)
        commands = bot.dispatcher.histories[network].forget(found.person, only)
        notices = await bot.missed.forget(network, partial(_is_recipient, found, only))
        fold = rules_of(found).fold
        names = {fold(text) for text in (str(found), found.person)}
        sent = await bot.journal.outbox.forget_refs(network, lambda recipient: fold(recipient) in names)
        if sent:
            # Empties the write-ahead log, which still has them.
            await bot.journal.forget(())
        removed = [f"Removed of {found} on {network}: {commands} commands and {notices} notices"]
        removed += [f"The network's ids of messages to {found} are removed: {sent}"] if sent else []
        removed += [f"The name of the maker is removed from these webhooks: {', '.join(made)}"] if made else []
        removed += [f"{plugin}: {text}" for plugin, text in results.items() if text is not None]
        for plugin, error in errors.items():
            removed.append(f"{plugin} has failed: {error if by.reads_details else 'the log has the reason'}")
        text = str(found.nick or found.person).lstrip("@")
        deliveries, before = await self._search(by, text)
        older = [f"deliveries below {before} that mention {text}: they weren't searched"] if before else []
        return ForgottenPerson(removed, [*await self._remaining(network, found, {*results}), *older], deliveries)

    @operation("person_forget", "person", "--deliveries", "ids", changes=True, hidden=("person",))
    async def forget_deliveries(self, by: Actor, person: str, ids: Sequence[int]) -> list[str]:
        """Remove the headers and bodies of deliveries that have ended. Return sentences about these and others."""
        await self._find(person)
        found = await self._bot.journal.forget(ids)
        removed, others = (", ".join(map(str, sorted(some))) or "none" for some in (found, {*ids}.difference(found)))
        return [f"Deliveries without headers and bodies now: {removed}", f"Unknown, or not ended: {others}"]

    async def _find(self, name: str) -> tuple[str, Person, str]:
        """Return the network, the person, and the name in access rules if only those of that name are meant; "" otherwise."""
        views = self._bot.bot_config.networks
        networks = {network: one for network, one in self._bot.backends.items() if has_people(views[network])}
        network, _, rest = name.partition(":")
        chosen, text = ({network: networks[network]}, rest) if network in networks and rest else (networks, name)

        def find() -> tuple[dict[str, Person], list[str]]:
            people, problems = dict[str, Person](), []
            for network, backend in chosen.items():
                try:
                    found = backend.build_identifier(text)
                except Exception as error:
                    # Backends written for errbot may raise anything.
                    problems.append(f"{network}: {error}")
                    continue
                if isinstance(found, Person) and not isinstance(found, RoomOccupant):
                    people[network] = found
            return people, problems

        # Networks of errbot's backends may ask a server.
        people, problems = await self._bot.plugin_pool.run(lambda: find)
        if not people:
            raise UserDoesNotExistError(f"{text!r} isn't the name of a person; {'; '.join(problems)}".rstrip("; "))
        choices = [f"{network}:{text}" for network in people]
        network, person = next(iter(people.items()))
        fold = rules_of(person).fold
        only = person.aclattr if fold(text) != fold(person.person) else ""
        if len(people) == 1 and not only:
            choices = [f"{network}:{one}" for one in self._bot.dispatcher.histories[network].senders(person.person)]
        if len(choices) > 1:
            raise UserNotUniqueError(f"{text!r} is the name of several people; name one: {', '.join(sorted(choices))}")
        return network, person, only

    async def _search(self, by: Actor, text: str) -> tuple[dict[int, str], int]:
        """Return deliveries that mention the text, and the id below which none was searched; 0 if all were."""
        journal, found, searched, before = self._bot.journal, dict[int, str](), 0, None
        while len(found) < MOST_LISTED and searched < MOST_SEARCHED and before != 0:
            ids = [one.id for one in await journal.find(DeliveryQuery(states=_ENDED, before=before, limit=SLICE))]
            contents = DeliveryQuery(ids=ids, text=text, limit=MOST_LISTED)
            queries = contents, replace(contents, text=None, reason=text)
            some = {one.id: one for query in queries for one in await journal.find(query)}
            for number in sorted(some, reverse=True)[: MOST_LISTED - len(found)]:
                one = some[number]
                found[number] = summary(one if by.reads_details else one.without_reasons())
            before, searched = (ids[-1] if len(ids) == SLICE else 0), searched + SLICE
        return found, min(found) if len(found) == MOST_LISTED else before or 0

    async def _remaining(self, network: str, person: Person, asked: set[str]) -> list[str]:
        """Return what wasn't removed, after a removal. `asked` are the plugins that have removed their values."""
        bot, what = self._bot, ["records of messages, without their texts, as long as deliveries are kept"]
        what.append("what people have done with the bot as administrators, for 90 days")
        records = [
            one for name in {str(person), person.person} for one in await bot.journal.outbox.find(recipient=name)
        ]
        if number := len({one.id for one in records if (one.network, one.state) == (network, MessageState.WAITING)}):
            what.append(f"messages to {person} that wait to be sent, at most for OUTBOX_MAX_AGE: {number}")
        depth = await bot.journal.depth()
        if number := depth.waiting + depth.running:
            what.append(f"deliveries that wait or run, and may mention {person}: {number}")

        def erase() -> tuple[bool, set[str], list[str]]:
            storage, directory = bot.storage, Path(bot.bot_config.BOT_DATA_DIR)
            copies = sorted({path.name for pattern in _COPIES for path in directory.glob(pattern)})
            return not isinstance(storage, ErasesRemoved) or storage.erase_removed(), {*storage.namespaces()}, copies

        is_erased, namespaces, copies = await bot.storage.in_background(erase)
        core = {
            *OWN_NAMESPACES,
            *(OF_NETWORK + name for name in bot.backends),
            *(plugin.name for plugin in bot.plugin_manager.found if plugin.plug.core),
        }
        if plugins := sorted(namespaces - core - asked):
            which = "plugins that have no callback_forget_person, or aren't active"
            what.append(f"values of {which}: {', '.join(plugins)}")
        if not is_erased:
            what.append("removed values, in the write-ahead log of a database that another program reads: try again")
        return [*what, ", ".join(["backups", *copies]), ", ".join(["the log", *map(str, destinations.files)])]


def _is_recipient(person: Person, only: str, admin: str) -> bool:
    """Return whether notices for a name in BOT_ADMINS_NOTIFICATIONS, on IRC perhaps a pattern, are for the person."""
    rules = rules_of(person)
    name = admin if only else admin.partition("!")[0]
    return rules.fold(name) == rules.fold(person.person) or rules.matches(only or str(person), admin)
