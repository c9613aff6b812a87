"""Warnings about settings that are valid, but have no effect, or not the expected one."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from shutil import which
from typing import Any

from errklein.chat.names import CHARACTER_SET, patterns_of
from errklein.commands import NAME_PATTERN_KEYS
from errklein.config._loading import Config, network_prefix
from errklein.config._misspellings import misspelt_settings
from errklein.config._settings import BACKENDS, OF_XMPP, SETTINGS
from errklein.config._source import ConfigSource

_PLACEHOLDERS = ("…", "your_nick", "your.host", "your-room", "CHANGE_ME")
"""Parts of values that stand for real ones in the examples of errklein's documentation and of errbot's."""

IRC_SIZE_LIMIT = 510
"""The length of a line on IRC in bytes, without the line end (RFC 1459, section 2.3)."""


def configuration_warnings(config: Config, read_by_plugins: Callable[[], Collection[str]] = frozenset) -> list[str]:
    """Return one sentence for each warning, with the name of the setting, and of the network in NETWORKS.

    :param read_by_plugins: Returns the names of settings that plugins read, which are no misspellings.
    """
    of_networks = (warning for view in config.networks.values() for warning in _of_network(config, view))
    return [*misspelt_settings(config, read_by_plugins), *_of_all(config), *of_networks]


def placeholders(config: Config) -> Iterator[str]:
    """Yield an error for each value of BOT_IDENTITY, for people or for rooms that an example has in place of a real one."""
    for view in config.networks.values():
        texts = {f"BOT_IDENTITY[{key!r}]": value for key, value in view.BOT_IDENTITY.items()}
        for setting in ("BOT_ADMINS", "CHATROOM_PRESENCE"):
            names = (entry[0] if isinstance(entry, (tuple, list)) else entry for entry in getattr(view, setting))
            texts |= {f"{setting}: {name!r}": name for name in names}
        for where, text in texts.items():
            if any(placeholder in str(text) for placeholder in _PLACEHOLDERS):
                yield f"{network_prefix(view)}{where} is a placeholder of an example; replace it by your own value"


def _of_all(config: Config) -> Iterator[str]:
    written_for_errbot = any(view.BACKEND not in BACKENDS for view in config.networks.values())
    views = (config, *config.networks.values())
    defaults = {name: SETTINGS[name].default for name in sorted(OF_XMPP)}
    meaningless = [
        name for name, value in defaults.items() if any(view.own.get(name, value) != value for view in views)
    ]
    if meaningless and not written_for_errbot:
        yield f"{', '.join(meaningless)}: no effect, since errklein has no network XMPP"
    for name, error in config._left_to_plugins.items():
        yield (
            f"{error} ({ConfigSource.of(config.path).location(name)}); errklein uses its default, and takes the value for a plugin's, "
            "since the file sets BACKEND and not NETWORKS, as errbot's does"
        )
    for network in config.TRUSTED_PROXIES:
        if network.endswith("/0"):
            yield f"TRUSTED_PROXIES: every client can forge its address, since {network!r} contains all addresses"
    command = config.BOT_ADMINS_FALLBACK
    if isinstance(command, tuple) and which(command[0]) is None:
        yield f"BOT_ADMINS_FALLBACK: {command[0]!r} is missing or not executable, so notices can't be passed to it"
    if config.SENTRY_TRANSPORT is not None:
        yield "SENTRY_TRANSPORT is deprecated; set SENTRY_OPTIONS = {'transport': …}"
    if config.SENTRY_DSN and not config.BOT_LOG_SENTRY:
        yield "SENTRY_DSN: no effect, since BOT_LOG_SENTRY isn't True"


def _of_network(config: Config, view: Config) -> Iterator[str]:
    where = network_prefix(view)
    on_irc, limit = view.BACKEND == "IRC", view.MESSAGE_SIZE_LIMIT
    # The limits of backends written for errbot are unknown.
    if on_irc and limit is not None and limit > IRC_SIZE_LIMIT:
        yield f"{where}MESSAGE_SIZE_LIMIT is {limit}; a line on IRC has at most {IRC_SIZE_LIMIT} bytes"
    if on_irc:
        for setting, pattern in _bracket_patterns(view):
            yield (
                f"{where}{setting}: brackets in {pattern!r} are literal on IRC, where nicks may contain them; "
                "errbot reads [[] as a bracket and [ab] as one of a and b"
            )
    recipients = list(view.BOT_ADMINS_NOTIFICATIONS)
    # On IRC a notice goes to the nick; user and host of a pattern don't matter.
    patterns = [name for name in recipients if _is_pattern(str(name).partition("!")[0] if on_irc else name)]
    if recipients != list(view.BOT_ADMINS):
        for name in patterns:
            yield f"{where}BOT_ADMINS_NOTIFICATIONS: no notices are sent to the pattern {name!r}; expected a name"
    elif patterns and patterns == recipients:
        yield (
            f"{where}BOT_ADMINS has only patterns, so no administrator is notified of problems; "
            "set BOT_ADMINS_NOTIFICATIONS to a tuple of names"
        )


def _bracket_patterns(view: Config) -> Iterator[tuple[str, str]]:
    """Yield pairs of a setting and a pattern for people or rooms whose brackets are a set of characters on errbot."""
    rules = {"ACCESS_CONTROLS_DEFAULT": view.ACCESS_CONTROLS_DEFAULT}
    rules |= {f"ACCESS_CONTROLS[{pattern!r}]": rule for pattern, rule in view.ACCESS_CONTROLS.items()}
    named = {"BOT_ADMINS": view.BOT_ADMINS}
    named |= {
        f"{where}[{key!r}]": rule[key] for where, rule in rules.items() for key in NAME_PATTERN_KEYS if key in rule
    }
    for setting, patterns in named.items():
        for pattern in patterns_of(patterns or ()):
            if isinstance(pattern, str) and re.search(CHARACTER_SET, pattern):
                yield setting, pattern


def _is_pattern(name: Any) -> bool:
    # Brackets are no wildcards: nicks may contain them.
    return isinstance(name, str) and ("*" in name or "?" in name)
