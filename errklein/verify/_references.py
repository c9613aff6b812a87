"""References to secrets, as configurations name them."""

from __future__ import annotations

import re
from collections.abc import Sequence

Secrets = str | Sequence[str]
"""One reference to a secret, or several, of which each is accepted: for rotation."""

_REFERENCE = re.compile(r"(env):([A-Za-z_][A-Za-z0-9_]*)|(file):(/[^\0]*)|(credential):([^\0/.][^\0/]*)")

EXPECTED = "'env:NAME', 'file:/path' or 'credential:NAME'"


def parse_reference(reference: str) -> tuple[str, str]:
    """Return the kind of a reference to a secret, and the name: ("env", "GH_SECRET") for "env:GH_SECRET".

    :param reference: "env:NAME" is a variable of the environment, "file:/path" a file, and "credential:NAME" a credential of
        systemd.
    :raises ValueError: It isn't a reference. The text doesn't repeat it, since it may be the secret itself.
    """
    found = _REFERENCE.fullmatch(reference) if isinstance(reference, str) else None
    if found is None:
        raise ValueError(f"a secret must be given by reference, as {EXPECTED}, and not as the value itself")
    kind, name = filter(None, found.groups())
    return kind, name


def references(secret: Secrets) -> tuple[str, ...]:
    """Return the references as a tuple. `Verification` checks each of them.

    :raises ValueError: There are none.
    """
    given = (secret,) if isinstance(secret, str) else tuple(secret) if isinstance(secret, Sequence) else (secret,)
    if not given:
        raise ValueError(f"no secret is given; name one as {EXPECTED}")
    return given
