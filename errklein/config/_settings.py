"""The settings of a config.py, each with its default and the check of a value."""

from __future__ import annotations

import copy
import errno
import logging
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from errklein.text.errors import InvalidValue
from errklein.text.masking import masker
from errklein.text.suggestions import NEW_NAMES, did_you_mean_path
from errklein.webhooks.declaration import DEFAULT_METHODS
from errklein.webhooks.forwarding import TrustedProxies, is_base_path, is_host
from errklein.webhooks.option_values import HookError, Rate, check_methods, is_number
from errklein.webhooks.options import hook_options, room_webhooks


def _accepted_by(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a check that returns the values that `read` accepts, unchanged."""

    def check(value: Any) -> Any:
        read(value)
        return value

    return check


def _url_path(example: str, least: int = 0) -> Callable[[Any], Any]:
    """Return a check of a path with at least so many characters, which returns it without a slash at the end."""

    def check(value: Any) -> Any:
        path = value.rstrip("/") if isinstance(value, str) else None
        if path is None or len(path) < least or (path and not is_base_path(path)):
            raise InvalidValue(f"a path such as {example!r}, of letters, digits, '-', '.', '_' and '~'")
        return path

    return check


def public_url(value: Any) -> Any:
    """Return a scheme and a host, without a slash at the end."""
    scheme, _, rest = value.partition("://") if isinstance(value, str) else ("", "", "")
    host, _, path = rest.partition("/")
    if value and (scheme not in ("http", "https") or not is_host(host.encode("utf-8", "replace"))):
        raise InvalidValue("a URL such as 'https://bot.example.net'")
    if path:
        raise InvalidValue("a URL without a path, which is the setting WEBHOOK_BASE_PATH")
    return value.rstrip("/") if value else ""


# The address as in HTML's <input type="email">, without characters that end a header or an address.
_MAIL = re.compile(
    r"smtp://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?/([\w.!#$%&'*+/=?^`{|}~-]+@[A-Za-z0-9.-]*[A-Za-z0-9])",
    re.ASCII,
)


@dataclass(frozen=True)
class MailFallback:
    """A mail address, and the SMTP server that takes mail for it without authentication."""

    address: str
    host: str = "127.0.0.1"
    port: int = 25


def fallback(value: Any) -> MailFallback | tuple[str, ...]:
    """Return the mail address, or the command with its arguments."""
    if isinstance(value, MailFallback):
        return value
    if isinstance(value, (list, tuple)) and value and all(isinstance(item, str) for item in value) and value[0]:
        return tuple(value)
    if isinstance(value, str):
        found = _MAIL.fullmatch(value if "://" in value else f"smtp://127.0.0.1/{value}")
        if found and int(found[2] or 25) < 65536:
            return MailFallback(found[3], found[1].strip("[]"), int(found[2] or 25))
    raise InvalidValue(
        "a mail address such as 'ops@example.org' or 'smtp://mail.example.org:25/ops@example.org', or a list with a command "
        "and its arguments, such as ['/usr/local/bin/page', 'ops']"
    )


STORAGES = (
    "Shelf",
    "Memory",
)  # those that errklein includes: Shelf keeps values in BOT_DATA_DIR, Memory until the stop

_SETTING = re.compile(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*\b(?!\[)")  # the name of a setting at the beginning of a message


class ConfigError(Exception):
    """The configuration can't be used. The text is one line with the setting, the problem and the expected value. If
    the code of config.py is the problem, the line of the source and a remedy may follow, as `source`. `setting` and
    `network` are the name of the setting and the key in NETWORKS, where known; else ""."""

    def __init__(self, message: str, setting: str = "", network: str = "", source: str = "") -> None:
        line = " ".join(message.split())
        super().__init__(f"{line}\n{source}" if source else line)
        begins = _SETTING.match(line)
        self.setting = setting or (begins[0] if begins else "")
        self.network = network


Check = Callable[[Any], Any]
"""Returns the value as it is used; raises InvalidValue if it is invalid.

Lists, sets and dicts are returned themselves, not copied, since plugins change them in place."""


@dataclass(frozen=True)
class Setting:
    default: Any
    check: Check
    reload: bool = False  # whether a reload applies another value, since each use reads it anew
    is_text: bool = False  # whether the value is a text, although the default isn't one


def _optional(check: Check, absent: Any = None) -> Check:
    """Return a check that also accepts None, which stands for `absent`."""
    return lambda value: copy.copy(absent) if value is None else check(value)


def _where(is_valid: Callable[[Any], bool], expected: str) -> Check:
    def check(value: Any) -> Any:
        if not is_valid(value):
            raise InvalidValue(expected)
        return value

    return check


_COLLECTIONS = (tuple, list, set, frozenset)


def _each(is_valid: Callable[[Any], bool], expected: str, kinds: Any = _COLLECTIONS) -> Check:
    """Return a check for a collection of valid items. A single string is read as a tuple of one."""

    def check(value: Any) -> Any:
        if isinstance(value, str):
            return (value,)
        if not isinstance(value, kinds):
            raise InvalidValue(expected)
        for item in value:
            if not is_valid(item):
                raise InvalidValue(expected, f"one with {_shown('', item)} in it")
        return value

    return check


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _named(check: Check) -> Check:
    """Return the check, which also takes numbers, the ids of people and rooms on Telegram. Then it returns a copy with texts."""

    def named(value: Any) -> Any:
        if isinstance(value, _COLLECTIONS) and any(type(one) is int for one in value):
            value = type(value)(str(one) if type(one) is int else one for one in value)
        return check(value)

    return named


def _is_path(value: Any) -> bool:
    return isinstance(value, (str, os.PathLike)) and bool(os.fspath(value))


_ENDPOINT = "tcp:3141:interface=127.0.0.1"
_anything = _where(lambda value: True, "anything")
_text = _where(_is_text, "a string")
_mapping = _where(lambda value: isinstance(value, Mapping), "a dict")
_strings = _each(_is_text, "a tuple of strings")
_endpoint = _where(_is_text, f"a Twisted endpoint such as {_ENDPOINT!r}")
_endpoints = _each(_is_text, f"a Twisted endpoint such as {_ENDPOINT!r}, or a list of them", (tuple, list))
_names = _each(_is_text, "a tuple of names, such as ('@alice',)")
_order = _each(
    lambda item: item is None or _is_text(item), "a tuple of plugins' names, with None for all others", (tuple, list)
)
_rooms = _each(
    # errbot also takes (room, nickname or password) pairs.
    lambda item: _is_text(item) or (isinstance(item, (tuple, list)) and bool(item) and _is_text(item[0])),
    "a tuple of rooms' names, or of pairs of name and password",
    (tuple, list),
)
_storage = _where(lambda value: _is_text(value) and value != "", "a storage's name, such as " + " or ".join(STORAGES))
_storage_config = _where(
    lambda value: isinstance(value, Mapping) and _is_path(value.get("basedir", "-")),
    "a dict whose 'basedir', if it has one, is a directory",
)
_sentry_options = _where(
    lambda value: isinstance(value, Mapping) and all(map(_is_text, value)), "a dict of arguments of sentry_sdk.init"
)
_formatter = _where(
    lambda value: callable(getattr(value, "format", None)) and not isinstance(value, (str, type)), "a logging.Formatter"
)


NAME_PATTERN_KEYS = ("allowusers", "denyusers", "allowrooms", "denyrooms")
"""Keys of access rules whose values are patterns of people or rooms. Brackets are literal in them; `config.review` reports these."""

_PATTERN_KEYS = (*NAME_PATTERN_KEYS, "allowargs", "denyargs")
_FLAG_KEYS = ("allowmuc", "allowprivate")


def _access_rule(rule: Any, where: str = "") -> Any:
    """Check one rule: a misspelt key would make it ineffective without an error. Errors end with `where`."""
    if not isinstance(rule, Mapping):
        given = f"a {type(rule).__name__}" + where.replace(" of ", " as ", 1)
        raise InvalidValue("a dict such as {'allowusers': ('alice',)}", given)
    for key, value in rule.items():
        if key not in (*_PATTERN_KEYS, *_FLAG_KEYS):
            raise InvalidValue(f"one of the keys {', '.join(sorted((*_PATTERN_KEYS, *_FLAG_KEYS)))}", f"{key!r}{where}")
        if value is None:
            continue
        texts = value if isinstance(value, _COLLECTIONS) else (value,)
        if key in _FLAG_KEYS and not isinstance(value, (bool, int)):
            raise InvalidValue(f"True or False for {key}{where}", _shown("", value))
        if key in _PATTERN_KEYS and not all(map(_is_text, texts)):
            raise InvalidValue(f"a string or a tuple of strings for {key}{where}", _shown("", value))
    return rule


def _access_rules(rules: Any) -> Any:
    if not isinstance(rules, Mapping):
        raise InvalidValue("a dict of rules", f"a {type(rules).__name__}")
    for pattern, rule in rules.items():
        if not isinstance(pattern, str):
            raise InvalidValue("a string such as 'status*' or 'Health:status' for each rule", _shown("", pattern))
        plugin, colon, command = pattern.partition(":")
        if ":" in command or not plugin.strip() or (colon and not command.strip()):
            valid = "a pattern that can match, such as 'status*' or 'Health:status'"
            raise InvalidValue(valid, f"{pattern!r}, which matches no command")
        _access_rule(rule, f" of the rule {pattern!r}")
    return rules


def _flag(value: Any) -> Any:
    if not isinstance(value, int):
        raise InvalidValue("True or False")
    return bool(value)


def _whole(least: int) -> Check:
    return _where(lambda value: is_number(value, int) and value >= least, f"a whole number, at least {least}")


_MOST_SECONDS = 1_000_000_000  # About thirty years


def _seconds_where(is_valid: Callable[[float], bool], expected: str = "") -> Check:
    def check(value: Any) -> Any:
        if not is_number(value, (int, float)) or not 0 <= value <= _MOST_SECONDS:
            raise InvalidValue(f"a number of seconds, at least 0 and at most {_MOST_SECONDS}")
        if not is_valid(value):
            raise InvalidValue(expected)
        return float(value)

    return check


_seconds = _seconds_where(lambda value: True)
_some_seconds = _seconds_where(bool, "a number of seconds, more than 0")
_zero_or_a_second = _seconds_where(lambda value: not 0 < value < 1, "0, or a number of seconds, at least 1")


def _relays(value: Any) -> Any:
    """Check a dict from names of senders to one or more names of recipients. errbot's default is an empty tuple."""
    if value in ((), None):
        return {}
    expected = "a dict of names to tuples of names"
    if not isinstance(value, Mapping) or not all(map(_is_text, value)):
        raise InvalidValue(expected)
    for recipients in value.values():
        try:
            _strings(recipients)
        except InvalidValue as error:
            raise InvalidValue(expected, error.given or f"one with {_shown('', recipients)} in it") from None
    return value


def _path(value: Any) -> Any:
    if not _is_path(value):
        raise InvalidValue("the path of a directory or file")
    try:
        path = str(Path(value).expanduser())
        os.lstat(path)
    except RuntimeError:
        raise InvalidValue("a path whose ~ is the home directory of a known user") from None
    except ValueError:
        raise InvalidValue("a path without NUL") from None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise InvalidValue("a shorter path") from None
    return path


def _directories(value: Any) -> Any:
    if value is None or value == "":
        return []
    given = [value] if isinstance(value, (str, os.PathLike)) else value
    if not isinstance(given, (list, tuple)):
        raise InvalidValue("a directory, or a list of directories")
    paths = [_path(item) for item in given]
    for path in paths:
        if not Path(path).is_dir():
            above = "" if Path(path).is_absolute() else f" in {Path.cwd()}"
            raise InvalidValue("an existing directory", f"{path!r}{above}{did_you_mean_path(Path(path))}")
    return paths


def _level(value: Any) -> Any:
    if isinstance(value, str):
        value = int(value) if re.fullmatch("[0-9]{1,9}", value) else logging.getLevelNamesMapping().get(value.upper())
    if not is_number(value, int):
        text = "a level of the logging module: 'DEBUG', 'INFO', 'WARNING', 'ERROR', 'CRITICAL', or a number"
        raise InvalidValue(text)
    return value


def _backend(value: Any) -> Any:
    # Imported late, since the module needs this one.
    from errklein.config.networks import find_network, known_networks

    if not isinstance(value, str) or not value.strip():
        known = ", ".join(network.name for network in known_networks())
        raise InvalidValue(f"one of {known}, or the name of a backend written for errbot")
    # Whether another backend exists is checked when it is loaded.
    return found.name if (found := find_network(value)) is not None else value


def _pattern(value: Any) -> Any:
    try:
        if isinstance(value, str):
            value.format(nick="", user="", host="")
            return value
    except (AttributeError, LookupError, ValueError):
        pass
    raise InvalidValue("a format string with no other fields than {nick}, {user} and {host}")


def _networks(value: Any) -> Any:
    for network, settings in _mapping(value).items():
        if not isinstance(settings, Mapping):
            kind = type(settings).__name__
            raise ConfigError(f"NETWORKS[{network!r}]: expected a dict of settings, not a {kind}", "NETWORKS")
    return value


def _webhooks(value: Any) -> Any:
    try:
        hook_options(value)
        if any(":" not in name for name in value):
            # Sources are only looked for if there are webhooks of rooms.
            from errklein.sources import find_source

            room_webhooks(value, find_source)
    except HookError as error:
        raise ConfigError(str(error), "WEBHOOKS") from None
    return value


_DATABASE = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#]*(?:/[^\s]*)?")


def _database(value: Any) -> Any:
    if not isinstance(value, str) or not _DATABASE.fullmatch(value):
        # It may have a password.
        given = "another text" if isinstance(value, str) else f"a {type(value).__name__}"
        raise InvalidValue("a URL such as 'postgresql://errklein@db.example.net/errklein'", given)
    return value


_log_parts = _where(lambda value: value in ("bodies", "heads", "off"), "'bodies', 'heads' or 'off'")
_days = "a number of days, more than 0 and at most 10000"
_log_days = _where(lambda value: is_number(value, (int, float)) and 0 < value <= 10_000, _days)

SETTINGS: Mapping[str, Setting] = {
    # errbot's
    "BACKEND": Setting("Text", _backend),
    "STORAGE": Setting("Shelf", _storage),
    "STORAGE_CONFIG": Setting({}, _optional(_storage_config, {})),
    "BOT_EXTRA_STORAGE_PLUGINS_DIR": Setting(None, _optional(_path), is_text=True),
    "BOT_DATA_DIR": Setting("errklein-data", _path),
    "BOT_EXTRA_PLUGIN_DIR": Setting([], _directories),
    "BOT_EXTRA_BACKEND_DIR": Setting([], _directories),
    "BOT_PLUGIN_INDEXES": Setting(("https://errbot.io/repos.json",), _strings),
    "CORE_PLUGINS": Setting(None, _optional(_strings)),
    "PLUGINS_CALLBACK_ORDER": Setting((None,), _order, reload=True),
    "AUTOINSTALL_DEPS": Setting(True, _flag, reload=True),
    "INSTALL_FROM_CHAT": Setting(True, _flag, reload=True),
    "BOT_LOG_FILE": Setting(None, _optional(_path), is_text=True),
    "BOT_LOG_LEVEL": Setting(logging.INFO, _level, reload=True, is_text=True),
    "BOT_LOG_FORMATTER": Setting(None, _optional(_formatter)),
    "BOT_LOG_SENTRY": Setting(False, _flag),
    "BOT_LOG_SENTRY_FLASK": Setting(False, _flag),
    "SENTRY_DSN": Setting("", _optional(_text, "")),
    "SENTRY_LOGLEVEL": Setting(logging.INFO, _level, is_text=True),
    "SENTRY_EVENTLEVEL": Setting(logging.ERROR, _level, is_text=True),
    "SENTRY_OPTIONS": Setting({}, _optional(_sentry_options, {})),
    "SENTRY_TRANSPORT": Setting(None, _anything),
    "BOT_ASYNC": Setting(True, _flag, reload=True),
    "BOT_ASYNC_POOLSIZE": Setting(10, _whole(1)),
    "BOT_IDENTITY": Setting({}, _mapping),
    "BOT_ADMINS": Setting((), _named(_names), reload=True),
    "BOT_ADMINS_FALLBACK": Setting(None, _optional(fallback), reload=True),
    "CHATROOM_PRESENCE": Setting((), _named(_rooms)),
    "CHATROOM_FN": Setting("Errbot", _text),
    "CHATROOM_RELAY": Setting({}, _relays, reload=True),
    "REVERSE_CHATROOM_RELAY": Setting({}, _relays, reload=True),
    "BOT_PREFIX": Setting("!", _text),
    "BOT_PREFIX_OPTIONAL_ON_CHAT": Setting(False, _flag, reload=True),
    "BOT_ALT_PREFIXES": Setting((), _strings),
    "BOT_ALT_PREFIX_SEPARATORS": Setting((), _strings),
    "BOT_ALT_PREFIX_CASEINSENSITIVE": Setting(False, _flag),
    "ACCESS_CONTROLS_DEFAULT": Setting({}, _access_rule, reload=True),
    "ACCESS_CONTROLS": Setting({}, _access_rules, reload=True),
    "HIDE_RESTRICTED_COMMANDS": Setting(False, _flag, reload=True),
    "HIDE_RESTRICTED_ACCESS": Setting(False, _flag, reload=True),
    "DIVERT_TO_PRIVATE": Setting((), _strings, reload=True),
    "DIVERT_TO_THREAD": Setting((), _strings, reload=True),
    "MESSAGE_SIZE_LIMIT": Setting(None, _optional(_whole(1))),
    "GROUPCHAT_NICK_PREFIXED": Setting(False, _flag, reload=True),
    "SUPPRESS_CMD_NOT_FOUND": Setting(False, _flag, reload=True),
    "TEXT_DEMO_MODE": Setting(True, _flag),
    "TEXT_COLOR_THEME": Setting("light", _text),
    "XMPP_CA_CERT_FILE": Setting(None, _optional(_path), is_text=True),
    "XMPP_FEATURE_MECHANISMS": Setting({}, _mapping),
    "XMPP_KEEPALIVE_INTERVAL": Setting(None, _optional(_some_seconds)),
    "XMPP_USE_IPV6": Setting(None, _anything),
    "XMPP_XHTML_IM": Setting(False, _flag),
    "XMPP_SSL_VERSION": Setting(None, _anything),
    # None: the backend's default, close to the fastest rate that servers accept without throttling the bot.
    "IRC_CHANNEL_RATE": Setting(None, _optional(_seconds)),
    "IRC_PRIVATE_RATE": Setting(None, _optional(_seconds)),
    "IRC_RECONNECT_ON_KICK": Setting(5, _optional(_seconds)),
    # None: the backend's default.
    "IRC_RECONNECT_ON_DISCONNECT": Setting(None, _optional(_seconds)),
    "IRC_ACL_PATTERN": Setting("{nick}!{user}@{host}", _pattern),
    # errklein's own
    "NETWORKS": Setting({}, _networks),
    "WEB": Setting((), _endpoints),
    "ERRKLEIN_DATABASE": Setting(None, _optional(_database), is_text=True),
    "STATUS": Setting(None, _optional(_endpoint), is_text=True),
    "CONSOLE": Setting(None, _optional(_endpoint), is_text=True),
    "CONSOLE_URL": Setting("", _optional(public_url, "")),
    "BOT_NICK_PREFIX": Setting(True, _flag, reload=True),
    "COMMAND_RATE": Setting("200/h", _optional(_accepted_by(Rate.of)), reload=True),
    "WEBHOOK_TIMEOUT": Setting(60.0, _some_seconds, reload=True),
    "WEBHOOK_POOLSIZE": Setting(20, _whole(1)),
    "WEBHOOK_QUEUE": Setting(200, _whole(0)),
    "WEBHOOK_QUEUE_WAIT": Setting(10.0, _some_seconds),
    "WEBHOOK_MAX_BODY": Setting(25 * 1024 * 1024, _whole(1), reload=True),
    "WEBHOOK_BASE_PATH": Setting("", _optional(_url_path("/bot"), "")),
    "WEBHOOK_PREFIX": Setting("/hooks", _url_path("/hooks", 1)),
    "TRUSTED_PROXIES": Setting({}, _optional(_accepted_by(TrustedProxies), {})),
    "PUBLIC_URL": Setting("", _optional(public_url, "")),
    "WEBHOOK_MAX_CONNECTIONS": Setting(10_000, _whole(1)),
    "WEBHOOK_MAX_CONNECTIONS_PER_CLIENT": Setting(1_000, _whole(1)),
    "WEBHOOKS": Setting({}, _optional(_webhooks, {}), reload=True),
    "WEBHOOK_METHODS": Setting(DEFAULT_METHODS, check_methods, reload=True),
    "WEBHOOK_CLIENT_RATE": Setting("100/s", _optional(_accepted_by(Rate.of)), reload=True),
    "WEBHOOK_LOG": Setting("bodies", _log_parts),
    "WEBHOOK_LOG_MASK": Setting((), _strings),
    "WEBHOOK_LOG_DAYS": Setting(7, _log_days),
    "WEBHOOK_LOG_SIZE": Setting(1_000_000_000, _whole(1)),
    "WEBHOOK_LOG_RATE": Setting("100/s", _optional(_accepted_by(Rate.of))),
    "WEBHOOK_BODY_MEMORY": Setting(256 * 1024 * 1024, _optional(_whole(0))),
    "GRACE_PERIOD": Setting(10.0, _seconds),
    "REACTOR_DEADLINE": Setting(None, _optional(_zero_or_a_second)),
    "OUTBOX_LIMIT": Setting(20_000, _whole(1)),
    "OUTBOX_SIZE": Setting(20_000_000, _whole(1)),
    "OUTBOX_MAX_AGE": Setting(3600.0, _some_seconds),
}
"""The settings with a default."""

DEPENDENT: Mapping[str, Check] = {"BOT_ADMINS_NOTIFICATIONS": _named(_names), "COMPACT_OUTPUT": _flag}
"""The settings whose default depends on other settings."""

TEXTS_OR_LISTS = frozenset(["BOT_ADMINS_FALLBACK", "BOT_EXTRA_BACKEND_DIR", "BOT_EXTRA_PLUGIN_DIR", "WEB"])

OF_XMPP = frozenset(name for name in SETTINGS if name.startswith("XMPP_"))
"""Settings of XMPP, which a backend written for errbot may read, too."""

CONFIDENTIAL = frozenset({"BOT_ADMINS_FALLBACK", "BOT_IDENTITY", "STORAGE_CONFIG", "SENTRY_DSN"})
"""Settings whose values may contain passwords, and are never shown."""


def needs_restart(name: str) -> bool:
    """Return whether another value of a setting takes effect only at the next start. Plugins' own settings don't need one."""
    return name == "COMPACT_OUTPUT" or (name in SETTINGS and not SETTINGS[name].reload)


_MAYBE_OF_PLUGINS: Mapping[str, tuple[type, ...]] = {
    "NETWORKS": (Mapping,),
    "STATUS": (str, type(None)),
    "CONSOLE": (str, type(None)),
    "WEB": (str, tuple, list),
    "WEBHOOKS": (Mapping, type(None)),
}
"""Settings of errklein whose names a plugin written for errbot may have chosen for its own, with the types of their values."""


def is_of_plugin(name: str, value: Any) -> bool:
    """Return whether a value is a plugin's, since errklein's has another type. NETWORKS has a dict in it."""
    if name == "NETWORKS" and isinstance(value, Mapping) and value:
        return not any(isinstance(settings, Mapping) for settings in value.values())
    return name in _MAYBE_OF_PLUGINS and not isinstance(value, _MAYBE_OF_PLUGINS[name])


def checked(name: str, value: Any, source: str = "", *, is_shown: bool = True) -> Any:
    """Return the value of a setting as it is used; raise ConfigError if it is invalid. Values of other names are
    returned as given. `source` is the option that has the value, such as "--plugin-dir", and begins the error instead
    of the setting. The error has the value if `is_shown` is true."""
    if (new := NEW_NAMES.get(name, "")) in SETTINGS and not is_of_plugin(new, value):
        raise ConfigError(f"{name}: the new name of this setting is {new}", name)
    check = SETTINGS[name].check if name in SETTINGS else DEPENDENT.get(name, _anything)
    try:
        return check(value)
    except InvalidValue as error:
        given = f", not {error.given or _shown(name, value)}" if is_shown else ""
        raise ConfigError(f"{source or name}: expected {error.expected}{given}", "" if source else name) from None


def _shown(name: str, value: Any) -> str:
    """Return the value for an error message; of one that may contain passwords, only its type."""
    if isinstance(value, (str, int, float, bytes, type(None))) and name not in CONFIDENTIAL:
        try:
            return masker.known(repr(value))
        except ValueError:
            return "a number with so many digits"
    return f"a {type(value).__name__}"
