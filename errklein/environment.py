"""The installed distributions: which versions there are, and whether the requirements of some of them are fulfilled."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from packaging.requirements import Requirement

# packaging is imported late: it takes 0.1 s, and most starts don't need it.


def installed_version(name: str) -> str | None:
    """The version of an installed distribution; None if there is none, or only the remains of one."""
    try:
        # The version of a distribution that is half removed may be None.
        return version(name) or None
    except PackageNotFoundError:
        return None


def applies(requirement: Requirement, extras: Iterable[str] = ()) -> bool:
    """Whether the requirement's marker holds in this environment, without extras or with one of these."""
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras))


def requirements_of(name: str, extras: Iterable[str] = ()) -> Iterator[Requirement]:
    """What an installed distribution requires in this environment, with these extras of it."""
    from packaging.requirements import Requirement

    extras = tuple(extras)
    for line in requires(name) or ():
        requirement = Requirement(line)
        if applies(requirement, extras):
            yield requirement


def damages() -> list[str]:
    """errklein's requirements, and theirs in turn, that are missing or in a wrong version: one line each.

    The line says which version there is, what requires another one, and the command that repairs it. Empty if errklein
    runs without being installed, since then nothing states its requirements.
    """
    try:
        import packaging.requirements  # noqa: F401
    except ImportError:
        return [_with_repair("packaging is missing; errklein requires it", "packaging")]
    if installed_version("errklein") is None:
        return []
    return [_with_repair(problem, wanted) for wanted, problem in unfulfilled(["errklein"])]


def unfulfilled(names: Iterable[str], provided: Collection[str] = ()) -> Iterator[tuple[str, str]]:
    """Of what these installed distributions require, directly or not, what is missing or in a wrong version.

    Yields the requirement and a sentence with the version that is there. Requirements of `provided`, which are
    normalized names, count as fulfilled.
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
