"""Versions of installed distributions, and checks of their requirements."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from packaging.requirements import Requirement

# packaging is imported late: it takes 0.1 s, and most starts don't need it.


def installed_version(name: str) -> str | None:
    """Return the version of an installed distribution; None if it is missing or its metadata is incomplete."""
    try:
        return name_and_version(distribution(name))[1] or None
    except PackageNotFoundError:
        return None


def name_and_version(found: Distribution) -> tuple[str, str]:
    """Return the name and version of a distribution; "" for what incomplete metadata lacks."""
    try:
        # Both may be None for a partly removed distribution.
        return found.name or "", found.version or ""
    except UnicodeDecodeError:
        # Metadata of old distributions may be Latin-1. Their directory has the same name and version, in ASCII.
        name, _, rest = Path(getattr(found, "_path", "")).stem.partition("-")
        return name, rest.partition("-")[0]


def applies(requirement: Requirement, extras: Iterable[str] = ()) -> bool:
    """Return whether the requirement's marker is true here, without an extra or with one of `extras`."""
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras))


def requirements_of(name: str, extras: Iterable[str] = ()) -> Iterator[Requirement]:
    """Yield the requirements of an installed distribution that apply here, including those of the extras."""
    from packaging.requirements import InvalidRequirement, Requirement

    extras = tuple(extras)
    try:
        lines = distribution(name).requires or ()
    except UnicodeDecodeError:
        return
    for line in lines:
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            continue
        if applies(requirement, extras):
            yield requirement


def environment_problems() -> list[str]:
    """Return a line for each requirement of errklein, direct or indirect, that is missing or has a wrong version.

    Each contains the command that repairs it. The result is empty if errklein isn't installed, since its requirements
    are unknown then.
    """
    try:
        import packaging.requirements  # noqa: F401
    except ImportError:
        return [_with_repair("packaging is missing; errklein requires it", "packaging")]
    if installed_version("errklein") is None:
        return []
    return [_with_repair(problem, wanted) for wanted, problem in unfulfilled(["errklein"])]


def unfulfilled(names: Iterable[str], provided: Collection[str] = ()) -> Iterator[tuple[str, str]]:
    """Yield the requirements of the named distributions, direct or indirect, that are missing or have a wrong version.

    Each is a pair of the requirement and a sentence. Requirements in `provided`, which are normalized names, count as
    fulfilled.
    """
    from packaging.utils import canonicalize_name

    waiting = [(name, frozenset[str]()) for name in names]
    seen = set(waiting)
    while waiting:
        name, extras = waiting.pop()
        for requirement in requirements_of(name, extras):
            required = canonicalize_name(requirement.name)
            if required in provided:
                continue
            there = installed_version(requirement.name)
            wanted = f"{requirement.name}{requirement.specifier}"
            if there is None:
                yield wanted, f"{wanted} is missing; {name} requires it"
                continue
            if not requirement.specifier.contains(there, prereleases=True):
                yield wanted, f"{requirement.name} {there} is installed; {name} requires {wanted}"
            following = (str(required), frozenset(requirement.extras))
            if following not in seen:
                seen.add(following)
                waiting.append(following)


def _with_repair(problem: str, wanted: str) -> str:
    return f"{problem}. Repair: {sys.executable} -m pip install '{wanted}'"
