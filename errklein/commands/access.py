"""Who may use which command where: BOT_ADMINS, ACCESS_CONTROLS and ACCESS_CONTROLS_DEFAULT as one pure decision."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any


@dataclass(frozen=True)
class Caller:
    """Who asks, and where: `user` and `room` are what patterns are matched against; no room in a direct message."""

    user: str
    room: str | None
    is_admin: bool


@dataclass(frozen=True)
class Denial:
    """Why somebody may not use a command, as a sentence for them."""

    reason: str


def matches(text: str, patterns: Iterable[str] | str) -> bool:
    """Whether `text` matches one of the patterns, in which `*`, `?` and `[…]` are wildcards; case matters."""
    if isinstance(patterns, str):
        patterns = (patterns,)
    return any(fnmatchcase(text, pattern) for pattern in patterns)


def decide(
    plugin: str,
    command: str,
    args: str,
    caller: Caller,
    *,
    admin_only: bool,
    rules: Mapping[str, Mapping[str, Any]],
    default: Mapping[str, Any],
) -> Denial | None:
    """None if `caller` may use the command, else the denial.

    The first pattern of `rules` that matches "Plugin:command" is laid over `default`; a pattern without a colon is for
    any plugin; case doesn't matter in patterns, and spaces in them are underscores. A key whose value is None is not
    set. An admin-only command stays one whatever the rules say.
    """
    acl = _rule_for(plugin, command, rules, default)

    def denies(subject: str, allow: str, deny: str) -> bool:
        if allow in acl and not matches(subject, acl[allow]):
            return True
        return deny in acl and matches(subject, acl[deny])

    if denies(args, "allowargs", "denyargs"):
        return Denial("You're not allowed to access this command using the provided arguments")
    if denies(caller.user, "allowusers", "denyusers"):
        return Denial("You're not allowed to access this command from this user")
    if caller.room is not None:
        if not acl.get("allowmuc", True):
            return Denial("You're not allowed to access this command from a chatroom")
        if denies(caller.room, "allowrooms", "denyrooms"):
            return Denial("You're not allowed to access this command from this room")
    elif not acl.get("allowprivate", True):
        return Denial("You're not allowed to access this command via private message to me")
    if admin_only:
        if caller.room is not None and not acl.get("allowmuc", False):
            return Denial("This command may only be issued through a direct message")
        if not caller.is_admin:
            return Denial("This command requires bot-admin privileges")
    return None


def _rule_for(
    plugin: str, command: str, rules: Mapping[str, Mapping[str, Any]], default: Mapping[str, Any]
) -> dict[str, Any]:
    key = f"{plugin}:{command}".lower()
    merged = dict(default)
    for pattern, rule in rules.items():
        pattern = pattern.lower().replace(" ", "_")
        if fnmatchcase(key, pattern if ":" in pattern else f"*:{pattern}"):
            merged.update(rule)
            break
    return {name: value for name, value in merged.items() if value is not None}
