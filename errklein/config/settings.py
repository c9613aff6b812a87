"""The settings of a config.py: what each is if it isn't given, and what it has to be if it is."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from errklein.commands.access_validation import InvalidAccessRule, check_rule, check_rules

BACKENDS: Mapping[str, tuple[str, ...]] = {
    "irc": ("nickname", "server"),
    "null": (),
    "test": (),
    "text": (),
}
"""The backends that there are, in lower case, and the keys that each needs in BOT_IDENTITY."""

LOCAL_BACKENDS = ("null", "test", "text")
"""Backends whose only person is whoever started the bot; they need no administrator to be named."""

BACKEND_NAMES = {"irc": "IRC", "null": "Null", "test": "Test", "text": "Text"}
"""How each backend is written in a config.py."""


STORAGES = ("Shelf", "Memory")
"""The storages that are errklein's own: values are kept in BOT_DATA_DIR, or not at all. Others are plugins."""


class ConfigError(Exception):
    """A configuration that can't be used; its text is one line: the setting, what is wrong, what is expected."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class Refused(Exception):
    """What a value is expected to be, when it isn't that; `given` is the part that isn't, if only a part."""

    def __init__(self, expected: str, given: str | None = None) -> None:
        super().__init__(expected)
        self.given = given


Check = Callable[[Any], Any]
"""Checks a value of the configuration and returns it as it is used; raises Refused.

Lists, sets and dicts are returned themselves, not copied, since plugins change them in place.
"""


@dataclass(frozen=True)
class Setting:
    """One setting: its value if none is given, and the check of what is given."""

    default: Any
    check: Check


def _text(value: Any) -> Any:
    if not isinstance(value, str):
        raise Refused("a string")
    return value


def _optional(check: Check) -> Check:
    return lambda value: None if value is None else check(value)


def _flag(value: Any) -> Any:
    if not isinstance(value, (bool, int)):
        raise Refused("True or False")
    return bool(value)


def _whole(least: int) -> Check:
    def check(value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise Refused(f"a whole number, at least {least}")
        return value

    return check


_MOST_SECONDS = 1_000_000_000
"""Some thirty years."""


def _seconds(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= _MOST_SECONDS:
        raise Refused(f"a number of seconds, at least 0 and at most {_MOST_SECONDS}")
    return float(value)


def _some_seconds(value: Any) -> Any:
    if value == 0:
        raise Refused("a number of seconds, more than 0")
    return _seconds(value)


def _mapping(value: Any) -> Any:
    if not isinstance(value, Mapping):
        raise Refused("a dict")
    return value


def _without_mistakes(check: Callable[[Any], None]) -> Check:
    def checked_rules(value: Any) -> Any:
        try:
            check(value)
        except InvalidAccessRule as mistake:
            raise Refused(mistake.expected, mistake.given) from None
        return value

    return checked_rules


def _relays(value: Any) -> Any:
    """A dict of names of senders to the name or names of recipients. errbot's default is an empty tuple."""
    if value in ((), None):
        return {}
    expected = "a dict of names to tuples of names"
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise Refused(expected)
    for listeners in value.values():
        try:
            strings(listeners)
        except Refused as refused:
            raise Refused(expected, refused.given or f"one with {_shown('', listeners)} in it") from None
    return value


def _names_and_rest(value: Any) -> Any:
    if isinstance(value, str):
        return (value,)
    expected = "a tuple of plugins' names, in which None stands for all others"
    if not isinstance(value, (tuple, list)):
        raise Refused(expected)
    for item in value:
        if item is not None and not isinstance(item, str):
            raise Refused(expected, f"one with {_shown('', item)} in it")
    return value


def strings(value: Any) -> Collection[str]:
    """The value itself if it is a tuple, list or set of strings; a single string is a tuple of one."""
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, (tuple, list, set, frozenset)):
        raise Refused("a tuple of strings")
    for item in value:
        if not isinstance(item, str):
            raise Refused("a tuple of strings", f"one with {_shown('', item)} in it")
    given: Collection[str] = value
    return given


def _rooms(value: Any) -> Any:
    # errbot also takes (room, nickname or password) pairs.
    if isinstance(value, str):
        return (value,)
    expected = "a tuple of rooms' names, or of pairs of name and password"
    if not isinstance(value, (tuple, list)):
        raise Refused(expected)
    for item in value:
        if not (isinstance(item, (tuple, list)) and item and isinstance(item[0], str)) and not isinstance(item, str):
            raise Refused(expected, f"one with {_shown('', item)} in it")
    return value


def _path(value: Any) -> Any:
    if not isinstance(value, (str, os.PathLike)) or not os.fspath(value):
        raise Refused("the path of a directory or file")
    try:
        path = str(Path(value).expanduser())
    except RuntimeError:
        raise Refused("a path whose ~ is somebody's home directory") from None
    try:
        os.lstat(path)
    except ValueError:
        raise Refused("a path without NUL") from None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise Refused("a shorter path") from None
    return path


def _directories(value: Any) -> Any:
    """Directories that exist, as a list of paths."""
    if value is None or value == "":
        return []
    given = [value] if isinstance(value, (str, os.PathLike)) else value
    if not isinstance(given, (list, tuple)):
        raise Refused("a directory, or a list of directories")
    paths = [_path(item) for item in given]
    for path in paths:
        if not Path(path).is_dir():
            raise Refused("a directory that is there", path)
    return paths


def _level(value: Any) -> Any:
    if isinstance(value, str):
        value = logging.getLevelNamesMapping().get(value.upper())
    if isinstance(value, bool) or not isinstance(value, int):
        raise Refused("a level of the logging module, such as logging.INFO")
    return value


def _backend(value: Any) -> Any:
    if not isinstance(value, str) or not value.strip():
        raise Refused("one of " + ", ".join(BACKEND_NAMES.values()) + ", or the name of another backend")
    # Whether there is another one of that name is known when it is looked for.
    return BACKEND_NAMES.get(value.lower(), value)


def _storage(value: Any) -> Any:
    if not isinstance(value, str) or not value:
        raise Refused("a storage's name, such as " + " or ".join(STORAGES))
    return value


def _storage_config(value: Any) -> Any:
    if value is None:
        return {}
    directory = _mapping(value).get("basedir", "-")
    if not isinstance(directory, (str, os.PathLike)) or not os.fspath(directory):
        raise Refused("a dict whose 'basedir', if it has one, is a directory")
    return value


def _options(value: Any) -> Any:
    if value is None:
        return {}
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise Refused("a dict of what sentry_sdk.init takes")
    return value


def _dsn(value: Any) -> Any:
    return "" if value is None else _text(value)


def _formatter(value: Any) -> Any:
    if not callable(getattr(value, "format", None)) or isinstance(value, (str, type)):
        raise Refused("a logging.Formatter")
    return value


def _transport(value: Any) -> Any:
    if isinstance(value, (tuple, list)):
        if len(value) != 2 or not all(isinstance(item, str) and item for item in value):
            raise Refused("a class of sentry_sdk.transport, or the pair of its name and its module")
        return tuple(value)
    if not callable(value):
        raise Refused("a class of sentry_sdk.transport, or the pair of its name and its module")
    return value


def _pattern(value: Any) -> Any:
    try:
        if isinstance(value, str):
            value.format(nick="", user="", host="")
            return value
    except (AttributeError, LookupError, ValueError):
        pass
    raise Refused("a string in which {nick}, {user} and {host} may stand")


def _anything(value: Any) -> Any:
    return value


SETTINGS: Mapping[str, Setting] = {
    # errbot's
    "BACKEND": Setting("Text", _backend),
    "STORAGE": Setting("Shelf", _storage),
    "STORAGE_CONFIG": Setting({}, _storage_config),
    "BOT_EXTRA_STORAGE_PLUGINS_DIR": Setting(None, _optional(_path)),
    "BOT_DATA_DIR": Setting("errklein-data", _path),
    "BOT_EXTRA_PLUGIN_DIR": Setting([], _directories),
    "BOT_EXTRA_BACKEND_DIR": Setting([], _directories),
    "BOT_PLUGIN_INDEXES": Setting(("https://errbot.io/repos.json",), strings),
    "CORE_PLUGINS": Setting(None, _optional(strings)),
    "PLUGINS_CALLBACK_ORDER": Setting((None,), _names_and_rest),
    "AUTOINSTALL_DEPS": Setting(True, _flag),
    "BOT_LOG_FILE": Setting(None, _optional(_path)),
    "BOT_LOG_LEVEL": Setting(logging.INFO, _level),
    "BOT_LOG_FORMATTER": Setting(None, _optional(_formatter)),
    "BOT_LOG_SENTRY": Setting(False, _flag),
    "BOT_LOG_SENTRY_FLASK": Setting(False, _flag),
    "SENTRY_DSN": Setting("", _dsn),
    "SENTRY_LOGLEVEL": Setting(logging.INFO, _level),
    "SENTRY_EVENTLEVEL": Setting(logging.ERROR, _level),
    "SENTRY_OPTIONS": Setting({}, _options),
    "SENTRY_TRANSPORT": Setting(None, _optional(_transport)),
    "BOT_ASYNC": Setting(True, _flag),
    "BOT_ASYNC_POOLSIZE": Setting(10, _whole(1)),
    "BOT_IDENTITY": Setting({}, _mapping),
    "BOT_ADMINS": Setting((), strings),
    "CHATROOM_PRESENCE": Setting((), _rooms),
    "CHATROOM_FN": Setting("Errbot", _text),
    "CHATROOM_RELAY": Setting({}, _relays),
    "REVERSE_CHATROOM_RELAY": Setting({}, _relays),
    "BOT_PREFIX": Setting("!", _text),
    "BOT_PREFIX_OPTIONAL_ON_CHAT": Setting(False, _flag),
    "BOT_ALT_PREFIXES": Setting((), strings),
    "BOT_ALT_PREFIX_SEPARATORS": Setting((), strings),
    "BOT_ALT_PREFIX_CASEINSENSITIVE": Setting(False, _flag),
    "ACCESS_CONTROLS_DEFAULT": Setting({}, _without_mistakes(check_rule)),
    "ACCESS_CONTROLS": Setting({}, _without_mistakes(check_rules)),
    "HIDE_RESTRICTED_COMMANDS": Setting(False, _flag),
    "HIDE_RESTRICTED_ACCESS": Setting(False, _flag),
    "DIVERT_TO_PRIVATE": Setting((), strings),
    "DIVERT_TO_THREAD": Setting((), strings),
    "MESSAGE_SIZE_LIMIT": Setting(None, _optional(_whole(1))),
    "GROUPCHAT_NICK_PREFIXED": Setting(False, _flag),
    "SUPPRESS_CMD_NOT_FOUND": Setting(False, _flag),
    "TEXT_DEMO_MODE": Setting(True, _flag),
    "TEXT_COLOR_THEME": Setting("light", _text),
    "XMPP_CA_CERT_FILE": Setting(None, _optional(_path)),
    "XMPP_FEATURE_MECHANISMS": Setting({}, _mapping),
    "XMPP_KEEPALIVE_INTERVAL": Setting(None, _optional(_some_seconds)),
    "XMPP_USE_IPV6": Setting(None, _anything),
    "XMPP_XHTML_IM": Setting(False, _flag),
    "XMPP_SSL_VERSION": Setting(None, _anything),
    # None: the backend's own pace, near what servers take without slowing the bot down.
    "IRC_CHANNEL_RATE": Setting(None, _optional(_seconds)),
    "IRC_PRIVATE_RATE": Setting(None, _optional(_seconds)),
    "IRC_RECONNECT_ON_KICK": Setting(5, _optional(_seconds)),
    # None: the backend's own pace, too.
    "IRC_RECONNECT_ON_DISCONNECT": Setting(None, _optional(_seconds)),
    "IRC_ACL_PATTERN": Setting("{nick}!{user}@{host}", _pattern),
    # errklein's own
    "BACKENDS": Setting({}, _mapping),
    "WEBHOOK_TIMEOUT": Setting(60.0, _some_seconds),
    "WEBHOOK_POOLSIZE": Setting(20, _whole(1)),
    "WEBHOOK_QUEUE": Setting(200, _whole(0)),
    "WEBHOOK_QUEUE_WAIT": Setting(10.0, _some_seconds),
    "WEBHOOK_MAX_BODY": Setting(25 * 1024 * 1024, _whole(1)),
    "GRACE_PERIOD": Setting(10.0, _seconds),
    "OUTBOX_LIMIT": Setting(10_000, _whole(1)),
}
"""The settings that have a value even if none is given."""

DEPENDENT: Mapping[str, Check] = {"BOT_ADMINS_NOTIFICATIONS": strings, "COMPACT_OUTPUT": _flag}
"""The settings whose value depends on others if they aren't given."""

OF_XMPP = frozenset(name for name in SETTINGS if name.startswith("XMPP_"))
"""Settings of a network that errklein doesn't have; a network that was written for errbot may read them."""

CONFIDENTIAL = frozenset({"BOT_IDENTITY", "STORAGE_CONFIG", "SENTRY_DSN"})
"""Settings that may hold passwords under any name."""


def checked(name: str, value: Any) -> Any:
    """The value of a setting as it is used; raises ConfigError. What isn't a setting is taken as it is."""
    check = SETTINGS[name].check if name in SETTINGS else DEPENDENT.get(name, _anything)
    try:
        return check(value)
    except Refused as refused:
        raise ConfigError(f"{name}: expected {refused}, not {refused.given or _shown(name, value)}") from None


def _shown(name: str, value: Any) -> str:
    """The value for an error message; of what may hold passwords, only its type."""
    if isinstance(value, (str, int, float, bytes, type(None))) and name not in CONFIDENTIAL:
        try:
            return repr(value)
        except ValueError:
            return "a number with so many digits"
    return f"a {type(value).__name__}"
