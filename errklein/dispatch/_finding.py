"""Lookup of the commands that a message runs, and the history of each person's commands in a place, which `!!` repeats."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from errklein.chat import EXACT, Identifier, Message, Person, RoomOccupant
from errklein.commands import CommandRegistry, RegisteredCommand
from errklein.dispatch._networks import Networks
from errklein.ports.chat import Backend

PRIVATE = ""  # the place of commands in direct messages
KEPT = 10  # maximum number of commands in a person's history
PERSONS = 10_000  # maximum number of persons with a history; beyond it, the oldest history is dropped


@dataclass(frozen=True, slots=True)
class Sender:
    """The sender of a command, and the place where it was sent. `person` is the sender's name and `aclattr` the name in
    access rules, both folded. Because both are compared, a person who takes over a nick neither sees nor repeats the
    commands of its former holder. `place` is PRIVATE for a direct message, else it identifies the room."""

    person: str
    aclattr: str = ""
    place: str = PRIVATE

    @classmethod
    def of(cls, message: Message) -> Sender:
        sender, is_direct = message.frm, isinstance(message.to, Person)
        fold = (sender.name_rules if isinstance(sender, Identifier) else EXACT).fold
        person, aclattr = str(getattr(sender, "person", "") or ""), str(getattr(sender, "aclattr", "") or "")
        room = sender.room if isinstance(sender, RoomOccupant) else message.to
        # A message to neither a person nor a room never counts as private.
        return cls(fold(person), fold(aclattr), PRIVATE if is_direct else f"in {fold(str(room))}")


class HistoryEntry(tuple[str, str]):  # noqa: SLOT001 - one of a tuple has no named slots
    """A pair of the command's name and its arguments as typed, with the `sender` as an attribute."""

    sender: Sender


class History(dict[Any, deque[HistoryEntry]]):
    """The histories of all persons on a network: a mapping from names, as the network's rules `fold` them, to commands, the latest last."""

    def __init__(self, fold: Callable[[str], str] = str) -> None:
        super().__init__()
        self._fold = fold
        self.make: Callable[[], deque[HistoryEntry]] = partial(deque, maxlen=KEPT)  # makes that of a new person

    def __missing__(self, person: Any) -> deque[HistoryEntry]:
        if isinstance(person, str) and (folded := self._fold(person)) != person:
            return self[folded]
        if len(self) >= PERSONS:
            del self[next(iter(self))]
        return self.setdefault(person, self.make())

    def remember(self, sender: Sender, command: str, args: str) -> None:
        """Append a command. An equal command that the sender sent in the same place before is removed."""
        entry = HistoryEntry((command, args))
        entry.sender = sender
        commands = self[sender.person]
        for index, before in enumerate(commands):
            if before == entry and (not isinstance(before, HistoryEntry) or before.sender == sender):
                del commands[index]
                break
        commands.append(entry)

    def entries(self, sender: Sender) -> list[HistoryEntry]:
        """Return the commands that the sender sent in that place, the latest last. Entries that plugins added have no
        sender, and are included in every place. So are entries of a sender without `aclattr`."""
        return [
            entry
            for entry in self.get(sender.person, ())
            if not isinstance(entry, HistoryEntry)
            or (entry.sender.aclattr in ("", sender.aclattr) and entry.sender.place == sender.place)
        ]

    def recall(self, sender: Sender, back: int) -> HistoryEntry | None:
        """Return the command that the sender sent `back` commands ago in that place, 1 being the latest, or None."""
        entries = self.entries(sender)
        return entries[-back] if 0 < back <= len(entries) else None

    def senders(self, person: str) -> set[str]:
        """Return the names in access rules of those who have sent a person's commands: several if the name has passed to others."""
        entries = self.get(self._fold(person), ())
        return {one.sender.aclattr for one in entries if isinstance(one, HistoryEntry) and one.sender.aclattr}

    def forget(self, person: str, aclattr: str = "") -> int:
        """Remove a person's commands, or only those of a sender with that name in access rules. Return their number."""
        entries, others = self.pop(self._fold(person), self.make()), self.make()
        if aclattr:
            # What plugins have added may be of either.
            others.extend(
                one for one in entries if isinstance(one, HistoryEntry) and one.sender.aclattr != self._fold(aclattr)
            )
        if others:
            self[self._fold(person)] = others
        return len(entries) - len(others)


def contains_recall(text: str, prefix: str) -> bool:
    if not prefix:
        return False
    return re.search(rf"(?<!\S){re.escape(prefix)}\s*(?:\d{{1,4}}|{re.escape(prefix.strip())})(?!\S)", text) is not None


def recall_position(text: str, prefix: str) -> int | None:
    """Return the number of commands back that the text repeats, or None if it repeats none. A second prefix, as in
    `!!`, repeats the latest command; a number, as in `!3`, one further back."""
    if prefix and text == prefix.strip():
        return 1
    # Longer numbers exceed any history.
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 4 else None


@dataclass(frozen=True, slots=True)
class Invocation:
    """A command that a message runs, on its way to the reply. `args` is at first the text after the command's name, or
    the whole text for a command with a pattern, and later the split arguments or the match. `settings` are the
    network's settings at the time when the message was received."""

    backend: Backend
    message: Message
    command: RegisteredCommand
    args: Any
    settings: Any


class NothingToRepeat(Exception):
    """The message repeats a command, and the sender's history has no such entry, or one that repeats a command itself."""


@dataclass(eq=False)
class UnknownCommand(Exception):
    """The message begins with a prefix and matches no command."""

    message: Message


class CommandFinder:
    """Finds the commands that a message runs: by name, by pattern, or in the sender's history."""

    def __init__(self, networks: Networks, registry: CommandRegistry, histories: dict[str, History]) -> None:
        self._networks, self._registry, self._histories = networks, registry, histories

    def find(self, backend: Backend, message: Message, settings: Any) -> list[Invocation]:
        """Return the commands that the message runs, with unsplit arguments. A message without a prefix runs the
        commands with a matching pattern that require none. Raises UnknownCommand if the message has a prefix and
        matches no command, and NothingToRepeat if it repeats a command that isn't in the history. The bot's nick
        followed by a colon or comma is a prefix only if a command follows, since people also talk about the bot."""
        registry = self._registry
        text = self._command_text(message.body, settings, settings.BOT_PREFIX_OPTIONAL_ON_CHAT and message.is_direct)

        def matching(commands: Iterable[RegisteredCommand], text: str) -> list[Invocation]:
            found = (command for command in commands if command.declaration.match(text) is not None)
            return [Invocation(backend, message, command, text, settings) for command in found]

        invocations: list[Invocation] = []
        if text is not None:
            if named := self._named(backend, message, text, settings):
                return [named]
            back = recall_position(text, settings.BOT_PREFIX)
            if back is not None and strip_prefix(message.body, settings) is not None:
                return [self._repeated(backend, message, back, settings)]
            invocations = matching(registry.by_pattern, text)
        if not invocations and (after := _after_nick(backend, message.body, settings)) is not None:
            prefixed = (command for command in registry.by_pattern if command.declaration.prefixed)
            named = self._named(backend, message, after, settings)
            invocations = [named] if named else matching(prefixed, after)
        if text is None:
            return invocations + matching(registry.unprefixed, message.body.strip())
        if not invocations:
            raise UnknownCommand(message)
        return invocations

    def _named(self, backend: Backend, message: Message, text: str, settings: Any) -> Invocation | None:
        found = self._registry.begins(text)
        return None if found is None else Invocation(backend, message, *found, settings)

    def begins_with_prefix(self, backend: Backend, message: Message) -> bool:
        """Return whether the message begins with a prefix, or with a command's name after the bot's nick or an empty prefix."""
        settings = self._networks.config(backend)
        after = _after_nick(backend, message.body, settings)
        if after is not None and self._named(backend, message, after, settings):
            return True
        if settings.BOT_PREFIX:
            return self._command_text(message.body, settings, False) is not None
        return self._named(backend, message, message.body, settings) is not None

    def without_prefix(self, message: Message) -> str:
        """Return the text of a message on the current network, without its prefix if it has one."""
        settings = self._networks.config(self._networks.current)
        text = strip_prefix(message.body, settings, settings.BOT_PREFIX_OPTIONAL_ON_CHAT and message.is_direct)
        return message.body if text is None else text

    def _command_text(self, body: str, settings: Any, optional: bool) -> str | None:
        """Return the text after the prefix, or None without a prefix. A prefix that ends with a letter or digit may
        also be the beginning of another word: then a command must follow."""
        text, prefix = strip_prefix(body, settings, optional), settings.BOT_PREFIX
        if not (text and prefix[-1:].isalnum() and text[0].isalnum() and body.startswith(prefix + text[0])):
            return text
        if self._registry.begins(text):
            return text
        return text if any(command.declaration.match(text) for command in self._registry.by_pattern) else None

    def _repeated(self, backend: Backend, message: Message, back: int, settings: Any) -> Invocation:
        given = self._histories[backend.network].recall(Sender.of(message), back)
        # A command that repeats itself, such as `!echo !!`, would do so again when another bot replies to it.
        if given is None or contains_recall(given[1], settings.BOT_PREFIX):
            raise NothingToRepeat
        command = self._registry.find(given[0])
        if command is None:
            repeated = message.clone()
            repeated.body = f"{settings.BOT_PREFIX}{' '.join(given)}"
            raise UnknownCommand(repeated)
        return Invocation(backend, message, command, given[1], settings)


def strip_prefix(body: str, settings: Any, optional: bool = False) -> str | None:
    """Return the text after the prefix, stripped, or None if there is no prefix, unless it is `optional`."""
    rest = _strip_alternative(body, settings)
    if rest is None and not optional and not body.startswith(settings.BOT_PREFIX):
        return None
    text: str = (body if rest is None else rest).removeprefix(settings.BOT_PREFIX).strip()
    return text


def _strip_alternative(body: str, settings: Any) -> str | None:
    compared, alternatives = body, settings.BOT_ALT_PREFIXES
    if settings.BOT_ALT_PREFIX_CASEINSENSITIVE:
        compared, alternatives = body.lower(), [alternative.lower() for alternative in alternatives]
    longest = max(filter(compared.startswith, alternatives), key=len, default="")
    if not longest:
        return None
    rest = body[len(longest) :]
    for separator in settings.BOT_ALT_PREFIX_SEPARATORS:
        rest = rest.removeprefix(separator)
    return rest


def _after_nick(backend: Backend, body: str, settings: Any) -> str | None:
    """Return the text after the bot's nick, a colon or comma, and perhaps BOT_PREFIX; None if the message doesn't begin so."""
    if not settings.BOT_NICK_PREFIX:
        return None
    bot = backend.bot_identifier
    nick = str(getattr(bot, "nick", None) or getattr(bot, "person", "")).removeprefix("@")
    body = body.removeprefix("@")
    begun, after = body[: len(nick)], body[len(nick) :]
    if not nick or not after.startswith((":", ",")) or folded(backend, begun) != folded(backend, nick):
        return None
    return after[1:].strip().removeprefix(settings.BOT_PREFIX).strip()


def folded(backend: Backend, name: str) -> str:
    return backend.name_rules.fold(name)
