"""The names of errbot and Flask that errklein provides, with the errklein module that defines each of them: those in `names.txt`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

FACADES: Mapping[str, str] = {"errbot": "errklein.compat.errbot", "flask": "errklein.compat.flask"}
"""The packages that errklein provides, and the names of its modules for them."""


def _read() -> dict[str, dict[str, str]]:
    provided: dict[str, dict[str, str]] = {}
    for line in (Path(__file__).parent / "names.txt").read_text("utf-8").splitlines():
        words = line.split()
        if not words or words[0] == "#":
            continue
        if not line.startswith(" "):
            found = provided[line] = {}
            continue
        module = words.pop(0).removesuffix(":")
        for word in words:
            name, renamed, there = word.partition("=")
            found[name] = module if renamed and not there else f"{module}:{there or name}"
    return provided


PROVIDED: Mapping[str, Mapping[str, str]] = _read()
"""For each module of errbot and Flask, the location of each name: "module:name", or "module" for a module."""

ERRBOT: Mapping[str, Mapping[str, str]] = {module: names for module, names in PROVIDED.items() if module != "flask"}
"""The modules of errbot among them."""

_ALL = (
    "BotFlow BotPlugin Command CommandError FLOW_END Flow FlowRoot arg_botcmd botcmd botflow botmatch cmdfilter re_botcmd "
    "webhook webroute"
)

EXPORTED: Mapping[str, tuple[str, ...]] = {"errbot": tuple(_ALL.split())}
"""`__all__` of the modules in which it doesn't contain every name."""
