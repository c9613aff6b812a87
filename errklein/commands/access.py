"""Who may use which command where: BOT_ADMINS, ACCESS_CONTROLS and ACCESS_CONTROLS_DEFAULT as one pure decision."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Protocol, TypeVar

from errklein.chat import EXACT, Identifier, Message, NameRules, RoomOccupant, matches_any, rules_of
from errklein.chat.names import compiled, patterns_of
from errklein.commands._denied_arguments import denies
from errklein.commands._registry import RegisteredCommand

F = TypeVar("F", bound=Callable[..., Any])


class AccessSettings(Protocol):
    """The parts of a network's configuration that decide about access."""

    @property
    def network(self) -> str:
        """The network's name."""

    @property
    def BOT_ADMINS(self) -> Iterable[str] | str:  # noqa: N802 - the setting's name
        """The patterns of administrators on the network."""

    @property
    def now(self) -> Any:
        """A namespace of the other settings, for fast access: ACCESS_CONTROLS and ACCESS_CONTROLS_DEFAULT."""


@dataclass(frozen=True)
class Caller:
    """The sender of a command in `room`, None in a direct message.

    `network` is the name of the network, `name_rules` are its rules about names.
    """

    user: str
    room: str | None
    is_admin: bool
    network: str = ""
    name_rules: NameRules = field(default=EXACT, compare=False)

    @classmethod
    def from_message(cls, message: Message, config: AccessSettings) -> Caller:
        """The sender of the message, on the network that `config` configures."""
        room: Identifier | None = None
        if message.is_group:
            room = message.frm.room if isinstance(message.frm, RoomOccupant) else message.to
        return cls.from_identifier(message.frm, get_acl_usr(message), room, config)

    @classmethod
    def from_identifier(
        cls, who: Identifier | None, user: str, room: Identifier | None, config: AccessSettings
    ) -> Caller:
        """The caller `who`, whose name in access rules is `user`, in `room`, or in a direct message if that is None."""
        rules = rules_of(who)
        where = None if room is None else get_acl_room(room)
        return cls(user, where, matches_any(rules, user, config.BOT_ADMINS), config.network, rules)


@dataclass(frozen=True)
class AccessRule:
    """A line of the configuration that had a say: the value of a key of `ACCESS_CONTROLS[pattern]`, or of
    ACCESS_CONTROLS_DEFAULT if there is no pattern.

    The value is None for BOT_ADMINS, and for an `allowmuc` that is missing where administrators need one.
    """

    key: str
    value: Any
    pattern: str | None = None


@dataclass(frozen=True)
class AccessDecision:
    """Whether somebody may use a command, and why.

    `denial` is the reason if the command is denied, a sentence for the caller, else None. `pattern` is the one of ACCESS_CONTROLS that applies, if any does. `rules` are those that were asked: if the command
    is denied the last one denies it, else all of them agreed.
    """

    denial: str | None
    rules: tuple[AccessRule, ...]
    pattern: str | None


def glob(text: str, patterns: Iterable[str] | str) -> bool:
    """Whether `text` matches one of the patterns, in which `*`, `?` and `[…]` are wildcards; case matters."""
    return any(compiled(pattern).match(text) for pattern in patterns_of(patterns))


def ciglob(text: str, patterns: Iterable[str] | str) -> bool:
    """As `glob`, but case doesn't matter."""
    return glob(text.lower(), [pattern.lower() for pattern in patterns_of(patterns)])


def get_acl_usr(message: Message) -> str:
    """What the message's sender is called in rules about users."""
    return str(getattr(message.frm, "aclattr", None) or getattr(message.frm, "person", ""))


def get_acl_room(room: Any) -> str:
    """What the room is called in rules about rooms."""
    return str(getattr(room, "aclattr", None) or room)


def admin_by_default(function: F) -> F:
    """Keep a command for administrators, unless a rule of ACCESS_CONTROLS lets others in by `allowusers`."""
    function._errklein_admin_by_default = True  # type: ignore[attr-defined]
    return function


def is_admin_by_default(handler: Callable[..., Any]) -> bool:
    """Whether `admin_by_default` marks the handler."""
    return bool(getattr(handler, "_errklein_admin_by_default", False))


def needs_admin(command: RegisteredCommand) -> bool:
    """Whether the command is for administrators, in any case or unless ACCESS_CONTROLS says otherwise."""
    return command.declaration.admin_only or is_admin_by_default(command.handler)


def check_access(
    command: RegisteredCommand, args: str | None, caller: Caller, config: AccessSettings
) -> AccessDecision:
    """Whether `caller` may use the command with these arguments, as one string, and which rules say so.

    `config` is the configuration of the caller's network. The first pattern of ACCESS_CONTROLS that matches "Plugin:command" is laid over
    ACCESS_CONTROLS_DEFAULT; a pattern without a colon is for any plugin; case doesn't matter in patterns, and spaces in
    them are underscores. A key whose value is None is not set. An admin-only command stays one whatever the rules say;
    if `admin_by_default` marks it, it is one unless the pattern's `allowusers` let the caller in. Rules about arguments
    aren't asked if these are None.

    Patterns for users and rooms match by the rules of the caller's network. Patterns of `allowargs` match the arguments as
    typed, those of `denyargs` also in normalised form; see `denied_arguments.denies`.
    """
    settings = config.now
    pattern = applicable_pattern(command.owner, command.name, settings.ACCESS_CONTROLS)
    rule: Mapping[str, Any] = {} if pattern is None else settings.ACCESS_CONTROLS[pattern]
    acl = {key: value for key, value in {**settings.ACCESS_CONTROLS_DEFAULT, **rule}.items() if value is not None}
    admin_only = command.declaration.admin_only
    asked: list[AccessRule] = []

    def says(key: str) -> Any:
        asked.append(AccessRule(key, acl[key], pattern if key in rule else None))
        return acl[key]

    def refuses(name: str, allow: str, deny: str) -> bool:
        if allow in acl and not matches_any(caller.name_rules, name, says(allow)):
            return True
        return deny in acl and matches_any(caller.name_rules, name, says(deny), denies=True)

    def refuses_arguments(given: str) -> bool:
        if "allowargs" in acl and not glob(given, says("allowargs")):
            return True
        return "denyargs" in acl and denies(given, says("denyargs"))

    def denial() -> str | None:
        if args is not None and refuses_arguments(args):
            return "You're not allowed to access this command using the provided arguments"
        if refuses(caller.user, "allowusers", "denyusers"):
            return "You're not allowed to access this command from this user"
        if caller.room is not None:
            if "allowmuc" in acl and not says("allowmuc"):
                return "You're not allowed to access this command from a chatroom"
            if refuses(caller.room, "allowrooms", "denyrooms"):
                return "You're not allowed to access this command from this room"
        elif "allowprivate" in acl and not says("allowprivate"):
            return "You're not allowed to access this command via private message to me"
        opened = not admin_only and matches_any(caller.name_rules, caller.user, rule.get("allowusers") or ())
        if admin_only or (is_admin_by_default(command.handler) and not opened):
            asked.append(AccessRule("BOT_ADMINS", None))
            if not caller.is_admin:
                return "This command requires bot-admin privileges"
            if caller.room is not None and not acl.get("allowmuc", False):
                asked.append(AccessRule("allowmuc", None))
                return "This command may only be issued through a direct message"
        return None

    return AccessDecision(denial(), tuple(asked), pattern)


def applicable_pattern(plugin: str, command: str, patterns: Iterable[str]) -> str | None:
    """The first pattern for the command, also by the name that its plugin gave it if it had to be renamed."""
    owner, name = _normal(plugin), _normal(command)
    keys = [f"{owner}:{name}"]
    while owner and name.startswith(f"{owner}-"):
        name = name.removeprefix(f"{owner}-")
        keys.append(f"{owner}:{name}")
    return next((pattern for pattern in patterns if any(map(_for_commands(pattern).match, keys))), None)


@lru_cache(maxsize=4096)
def _for_commands(pattern: str) -> re.Pattern[str]:
    """What finds commands written as "plugin:command" in small letters, with underscores for spaces."""
    plugin, colon, command = pattern.partition(":")
    return compiled(f"{_normal(plugin)}:{_normal(command)}" if colon else f"*:{_normal(pattern)}")


@lru_cache(maxsize=4096)
def _normal(name: str) -> str:
    return "_".join(name.lower().split())


def explain_access(
    caller: Caller, command: str, decision: AccessDecision, *, disclosed: bool = True, show: Callable[[str], str] = str
) -> str:
    """Whether `caller` may give the command, written as in chat, and which rule decides that, for an administrator.

    `disclosed` says whether those who may not are told so. `show` quotes what comes from the configuration or from a chat.
    """
    who = show(caller.user) + (" (an administrator)" if caller.is_admin else "")
    where = "in a direct message" if caller.room is None else f"in {show(caller.room)}"
    applies = "no pattern of ACCESS_CONTROLS applies"
    if decision.pattern is not None:
        applies = f"the pattern {show(repr(decision.pattern))} of ACCESS_CONTROLS applies"
    rules = [_describe(rule, show) for rule in decision.rules]
    if decision.denial is not None:
        answer = f"The answer is: {decision.denial}." if disclosed else "There is no answer (HIDE_RESTRICTED_ACCESS)."
        return f"{who} may not use {show(command)} {where}: {applies}, and {rules[-1]} denies it. {answer}"
    agreed = f"these allow it: {', '.join(rules)}" if rules else "nothing denies it"
    return f"{who} may use {show(command)} {where}: {applies}, and {agreed}."


def _describe(rule: AccessRule, show: Callable[[str], str]) -> str:
    if rule.key == "BOT_ADMINS":
        return "BOT_ADMINS"
    if rule.value is None:
        return f"the lack of {show(f'{rule.key} = True')}, which a command for administrators needs in a room,"
    where = "ACCESS_CONTROLS_DEFAULT" if rule.pattern is None else f"ACCESS_CONTROLS[{rule.pattern!r}]"
    return show(f"{where}[{rule.key!r}] = {rule.value!r}")
