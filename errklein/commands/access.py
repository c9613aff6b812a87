"""Access rules: decide whether a person may use a command in a place. The decision depends on BOT_ADMINS,
ACCESS_CONTROLS and ACCESS_CONTROLS_DEFAULT, and has no side effects."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Protocol

from errklein.chat import EXACT, Identifier, Message, NameRules, RoomOccupant, matches_any, rules_of
from errklein.chat.identifiers import CHARACTER_SET, Purpose, compiled, literal_brackets, patterns_of
from errklein.commands._declaration import ARG_BOTCMD_CHARACTER_REPLACEMENTS, is_admin_by_default, words_of
from errklein.commands._registry import RegisteredCommand
from errklein.text import folded


class AccessSettings(Protocol):
    """The part of a network's configuration that access rules depend on."""

    network: str  # its name
    ACCESS_CONTROLS: Mapping[str, Mapping[str, Any]]
    ACCESS_CONTROLS_DEFAULT: Mapping[str, Any]

    @property
    def BOT_ADMINS(self) -> Iterable[str] | str:  # noqa: N802 - the setting's name
        """The patterns of administrators on the network."""


@dataclass(frozen=True)
class Caller:
    """The sender of a command, and the place where it was sent. `user` and `room` are their usual names in access rules; `room`
    is None for a direct message. `name_rules` are the network's rules for comparing names. `who` and `where` have further names."""

    user: str
    room: str | None
    is_admin: bool
    network: str = ""
    name_rules: NameRules = field(default=EXACT, compare=False)
    who: Identifier | None = field(default=None, compare=False)
    where: Identifier | None = field(default=None, compare=False)

    @classmethod
    def from_message(cls, message: Message, config: AccessSettings) -> Caller:
        """Return the sender of the message on the network with this configuration."""
        place = message.frm.room if isinstance(message.frm, RoomOccupant) else message.to
        return cls.from_identifier(message.frm, place if message.is_group else None, config)

    @classmethod
    def from_identifier(cls, who: Identifier | None, room: Identifier | None, config: AccessSettings) -> Caller:
        """Return the person `who` in a room, or in a direct message if `room` is None."""
        rules, user = rules_of(who), _name_of(who)
        is_admin = who is not None and _matches(rules, who, user, "admin", config.BOT_ADMINS)
        return cls(user, None if room is None else get_acl_room(room), is_admin, config.network, rules, who, room)


@dataclass(frozen=True)
class AccessRule:
    """A part of the configuration that contributed to a decision: `ACCESS_CONTROLS[pattern][key]`, or
    `ACCESS_CONTROLS_DEFAULT[key]` if `pattern` is None. `value` is None if the key is BOT_ADMINS, and if it is an `allowmuc`
    that is missing and would have to be True."""

    key: str
    value: Any
    pattern: str | None = None


@dataclass(frozen=True)
class AccessDecision:
    """The decision about a command. `denial` is the reply to the caller if the command is denied, else None. `pattern` is the
    pattern of ACCESS_CONTROLS that applies, or None. `rules` are those that were checked; if the command is denied, by the last one."""

    denial: str | None
    rules: tuple[AccessRule, ...]
    pattern: str | None


def glob(text: str, patterns: Iterable[str] | str) -> bool:
    """Return whether the text matches one of the patterns, with the wildcards `*`, `?` and `[…]`; case-sensitive."""
    return any(compiled(pattern).match(text) for pattern in patterns_of(patterns))


def ciglob(text: str, patterns: Iterable[str] | str) -> bool:
    """Return whether the text matches one of the patterns, as `glob` does; case-insensitive."""
    return glob(text.lower(), [pattern.lower() for pattern in patterns_of(patterns)])


def get_acl_usr(message: Message) -> str:
    """Return the sender's usual name in `allowusers`, `denyusers` and BOT_ADMINS."""
    return _name_of(message.frm)


def get_acl_room(room: Any) -> str:
    """Return the room's usual name in `allowrooms` and `denyrooms`."""
    return str(getattr(room, "aclattr", None) or room)


def _name_of(person: Identifier | None) -> str:
    return str(getattr(person, "aclattr", None) or getattr(person, "person", ""))


def _matches(rules: NameRules, one: Any, usual: str, purpose: Purpose, patterns: Iterable[str] | str) -> bool:
    names = one.access_names(purpose) if isinstance(one, Identifier) else (usual,)
    return any(matches_any(rules, name, patterns, denies=purpose == "deny") for name in names)


def is_named(person: Identifier, patterns: Iterable[str] | str) -> bool:
    """Return whether one of the patterns, as in `allowusers`, names the person."""
    return _matches(rules_of(person), person, _name_of(person), "allow", patterns)


def check_access(
    command: RegisteredCommand, args: str | None, caller: Caller, config: AccessSettings
) -> AccessDecision:
    """Decide whether the caller may use the command with these arguments: the unsplit text, or None to skip the rules for
    arguments. `config` is the configuration of the caller's network.

    The rule of the first pattern in ACCESS_CONTROLS that matches "Plugin:command" is merged over ACCESS_CONTROLS_DEFAULT. A
    pattern without a colon applies to all plugins. Patterns of commands are case-insensitive, and a space in them equals an
    underscore. A key with the value None counts as missing. Patterns of users and rooms follow the network's rules for names.
    `allowargs` matches the arguments as typed, `denyargs` also in normalised form; see `denies`.

    Rules never open an admin-only command to others. A command marked with `admin_by_default` is open to people whom the
    pattern's `allowusers` matches."""
    pattern = applicable_pattern(command.owner, command.name, config.ACCESS_CONTROLS)
    rule: Mapping[str, Any] = {} if pattern is None else config.ACCESS_CONTROLS[pattern]
    acl = {key: value for key, value in {**config.ACCESS_CONTROLS_DEFAULT, **rule}.items() if value is not None}
    admin_only = command.declaration.admin_only
    checked: list[AccessRule] = []

    def value(key: str) -> Any:
        checked.append(AccessRule(key, acl[key], pattern if key in rule else None))
        return acl[key]

    def rejects(one: Identifier | None, usual: str, allow: str, deny: str) -> bool:
        if allow in acl and not _matches(caller.name_rules, one, usual, "allow", value(allow)):
            return True
        return deny in acl and _matches(caller.name_rules, one, usual, "deny", value(deny))

    def rejects_arguments(given: str) -> bool:
        if "allowargs" in acl and not glob(given, value("allowargs")):
            return True
        return "denyargs" in acl and denies(given, value("denyargs"))

    def denial() -> str | None:
        if args is not None and rejects_arguments(args):
            return "You're not allowed to access this command using the provided arguments"
        if rejects(caller.who, caller.user, "allowusers", "denyusers"):
            return "You're not allowed to access this command from this user"
        if caller.room is not None:
            if "allowmuc" in acl and not value("allowmuc"):
                return "You're not allowed to access this command from a chatroom"
            if rejects(caller.where, caller.room, "allowrooms", "denyrooms"):
                return "You're not allowed to access this command from this room"
        elif "allowprivate" in acl and not value("allowprivate"):
            return "You're not allowed to access this command via private message to me"
        users = rule.get("allowusers") or ()
        allowed = not admin_only and _matches(caller.name_rules, caller.who, caller.user, "allow", users)
        if admin_only or (is_admin_by_default(command.handler) and not allowed):
            checked.append(AccessRule("BOT_ADMINS", None))
            if not caller.is_admin:
                return "This command requires bot-admin privileges"
            in_rooms = getattr(command.handler, "_errklein_also_in_rooms", False)
            if caller.room is not None and not acl.get("allowmuc", in_rooms):
                checked.append(AccessRule("allowmuc", None))
                return "This command may only be issued through a direct message"
        return None

    return AccessDecision(denial(), tuple(checked), pattern)


def applicable_pattern(plugin: str, command: str, patterns: Iterable[str]) -> str | None:
    """Return the first pattern that matches the command, or None. One that was renamed because of a clash is also matched by
    its original name."""
    owner, name = _normal(plugin), _normal(command)
    keys = [f"{owner}:{name}"]
    while owner and name.startswith(f"{owner}-"):
        name = name.removeprefix(f"{owner}-")
        keys.append(f"{owner}:{name}")
    return next((pattern for pattern in patterns if any(map(_for_commands(pattern).match, keys))), None)


def unmatched(patterns: Iterable[str], commands: Iterable[tuple[str, str]]) -> list[str]:
    """Return the patterns of ACCESS_CONTROLS that match none of the commands, which are pairs of plugin and command."""
    known = list(commands)
    return [pattern for pattern in patterns if not any(applicable_pattern(*command, (pattern,)) for command in known)]


@lru_cache(maxsize=4096)
def _for_commands(pattern: str) -> re.Pattern[str]:
    """Compile the pattern for commands in the form "plugin:command", in lower case with underscores for spaces."""
    plugin, colon, command = pattern.partition(":")
    return compiled(f"{_normal(plugin)}:{_normal(command)}" if colon else f"*:{_normal(pattern)}")


@lru_cache(maxsize=4096)
def _normal(name: str) -> str:
    return "_".join(name.lower().split())


def explain_access(
    caller: Caller, command: str, decision: AccessDecision, *, disclosed: bool = True, show: Callable[[str], str] = str
) -> str:
    """Return sentences for an administrator with the decision and the rules that led to it. `command` is the command as written in
    a chat. `disclosed` is False if denied callers get no reply. `show` quotes text from the configuration and from chats."""
    who = show(caller.user) + (" (an administrator)" if caller.is_admin else "")
    where = "in a direct message" if caller.room is None else f"in {show(caller.room)}"
    applies = "No pattern of ACCESS_CONTROLS applies"
    if decision.pattern is not None:
        applies = f"The pattern {show(repr(decision.pattern))} of ACCESS_CONTROLS applies"
    rules = [_describe(rule, show) for rule in decision.rules]
    if decision.denial is not None:
        reply = f"The reply is: {decision.denial}." if disclosed else "There is no reply (HIDE_RESTRICTED_ACCESS)."
        return f"{who} may not use {show(command)} {where}. {applies}; {rules[-1]} denies the command. {reply}"
    allowed = f"these rules allow the command: {', '.join(rules)}" if rules else "no rule denies the command"
    return f"{who} may use {show(command)} {where}. {applies}; {allowed}."


def _describe(rule: AccessRule, show: Callable[[str], str]) -> str:
    if rule.key == "BOT_ADMINS":
        return "BOT_ADMINS"
    if rule.value is None:
        return f"the missing {show(f'{rule.key} = True')} (required for admin-only commands in rooms)"
    where = "ACCESS_CONTROLS_DEFAULT" if rule.pattern is None else f"ACCESS_CONTROLS[{rule.pattern!r}]"
    return show(f"{where}[{rule.key!r}] = {rule.value!r}")


# Patterns of `denyargs`, which also match the forms in which a command may get its arguments.

_WILDCARD = re.compile(rf"(\*|\?|{CHARACTER_SET})")
_SYNTAX = "*?[]!-"
_QUOTING = re.compile(rf"[\\\"'{''.join(ARG_BOTCMD_CHARACTER_REPLACEMENTS)}]")
"""Characters that splitters remove or replace. Splitting is slow, and most arguments contain none of them."""


def denies(text: str, patterns: Iterable[str] | str) -> bool:
    """Return whether one of the patterns matches the arguments, as typed or in normalised form. Text and pattern are normalised by
    `errklein.text.folded`, so that case, fullwidth letters and invisible characters don't evade a rule. In normalised form,
    `?` and `[…]` match one character. The text is also compared in the forms that the command may get: with one space
    between words, and without the quotes and backslashes that splitters such as shlex remove."""
    texts = set(_as_split(text))
    forms = {form for one in texts for form in (folded(one), " ".join(folded(one).split()))}
    return any(
        any(compiled(pattern).match(one) for one in texts)
        or ((normal := normalised(pattern)) is not None and any(compiled(normal).match(form) for form in forms))
        for pattern in patterns_of(patterns)
    )


def _as_split(text: str) -> Iterator[str]:
    """Yield the text, and its words as the usual splitters return them, joined by one space."""
    yield text
    yield " ".join(text.split())
    if _QUOTING.search(text) is None:
        return
    # They treat typographic quotes differently, so one may fail where the other succeeds.
    for splitter in (shlex.split, words_of):
        with suppress(ValueError):
            yield " ".join(splitter(text))


@lru_cache(maxsize=4096)
def normalised(pattern: str) -> str | None:
    """Return the pattern for normalised text, or None if only wildcards remain, which would deny all arguments."""
    parts = _WILDCARD.split(pattern)
    wildcards, literals = parts[1::2], parts[0::2]
    forms = [*map(folded, literals)]
    if any(literals) and not any(forms):
        return None
    # A literal must not become a wildcard: folding turns a fullwidth asterisk into "*".
    shown = [re.sub(r"[*?]", r"[\g<0>]", literal_brackets(form)) for form in forms]
    sets = [_folded_set(wildcard) if wildcard[0] == "[" else wildcard for wildcard in wildcards]
    return shown[0] + "".join(part for pair in zip(sets, shown[1:], strict=True) for part in pair)


def _folded_set(members: str) -> str:
    """Return the set with its members folded, except those that fold to several characters or to syntax."""
    forms = ((one, folded(one)) for one in members)
    return "".join(form if len(form) == 1 and form not in _SYNTAX else one for one, form in forms)
