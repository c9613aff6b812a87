"""Former names of errklein's settings, options, commands and words. Errors about an old name state the new one."""

from __future__ import annotations

from collections.abc import Mapping

NEW_NAMES: Mapping[str, str] = {
    # settings
    "BACKENDS": "NETWORKS",
    # commands of the shell
    "backends": "network list",
    "config-template": "config template",
    "deliveries": "delivery",
    # options
    "--backend": "--network",
    "-b": "-n",
    "--reload": "--watch",
}
"""The old names with the new ones."""


def renamed(name: str) -> str:
    """Return "; the new name is 'NAME'." for an old name, as the end of a sentence; "" for any other."""
    new = NEW_NAMES.get(name)
    return f"; the new name is {new!r}." if new else ""
