"""Checks of the settings of webhooks. Each returns the value as it is used, or raises InvalidValue."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from errklein.commands import InvalidValue
from errklein.webhooks.forwarding import InvalidProxies, TrustedProxies
from errklein.webhooks.hosts import is_base_path, is_host
from errklein.webhooks.option_values import InvalidOption, Rate, check_methods


def _accepted_by(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a check that returns the values that `read` accepts, unchanged."""

    def check(value: Any) -> Any:
        try:
            read(value)
        except (InvalidOption, InvalidProxies) as error:
            raise InvalidValue(*error.args) from None
        return value

    return check


trusted_proxies = _accepted_by(TrustedProxies)
rate = _accepted_by(Rate.of)


def methods(value: Any) -> Any:
    """Return HTTP methods as a tuple, in upper case."""
    return check_methods(_accepted_by(check_methods)(value))


def base_path(value: Any) -> Any:
    """Return a path without a slash at the end."""
    path = value.rstrip("/") if isinstance(value, str) else None
    if path is None or (path and not is_base_path(path)):
        raise InvalidValue("a path such as '/bot', of letters, digits, '-', '.', '_' and '~'")
    return path


def public_url(value: Any) -> Any:
    """Return a scheme and a host, without a slash at the end."""
    scheme, _, rest = value.partition("://") if isinstance(value, str) else ("", "", "")
    host, _, path = rest.partition("/")
    if value and (scheme not in ("http", "https") or not is_host(host.encode("utf-8", "replace"))):
        raise InvalidValue("a URL such as 'https://bot.example.net'")
    if path:
        raise InvalidValue("a URL without a path, which is the setting WEBHOOK_BASE_PATH")
    return value.rstrip("/") if value else ""
