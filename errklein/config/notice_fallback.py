"""The setting BOT_ADMINS_FALLBACK: a mail address or a command."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from errklein.commands import InvalidValue

_EXPECTED = (
    "a mail address such as 'ops@example.org' or 'smtp://mail.example.org:25/ops@example.org', or a list with a command "
    "and its arguments, such as ['/usr/local/bin/page', 'ops']"
)
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
    raise InvalidValue(_EXPECTED)
