"""Which Python and which errbot a plugin asks for, and whether this is one."""

from __future__ import annotations

import re
import sys

ERRBOT_VERSION = "6.2.1"
"""The errbot that errklein stands for when a plugin asks."""

_PYTHON = re.compile(r"(\d+)(?:\.(\d+))?(?:\.(\d+))?\+?(?:-[\w.]+)?", re.ASCII)
_ERRBOT = re.compile(r"(\d+)\.(\d+)\.(\d+)(?:-(alpha|beta|rc(\d+)))?", re.ASCII)

_BEFORE_ALL_CANDIDATES = {"alpha": -1, "beta": 0}


def parse_errbot_version(text: str) -> tuple[int, int, int, int]:
    """A tuple that sorts as versions do: alpha < beta < rc1 < rc2 < final.

    Raises ValueError unless `text` is "x.y.z", "x.y.z-alpha", "x.y.z-beta" or "x.y.z-rcN".
    """
    match = _ERRBOT.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no version of errbot")
    major, minor, micro, suffix, candidate = match.groups()
    if suffix is None:
        stage = sys.maxsize
    else:
        stage = _BEFORE_ALL_CANDIDATES.get(suffix, int(candidate or 0))
    return int(major), int(minor), int(micro), stage


def parse_python_version(text: str) -> tuple[int, int, int]:
    """The Python that a plugin runs above. "2+", the old way to say "both", means Python 3.

    Raises ValueError unless `text` is "3", "2+", "3.9", "3.9.2" or such, perhaps with a suffix as in "3.9.2-rc1".
    """
    if text == "2+":
        return (3, 0, 0)
    match = _PYTHON.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no version of Python")
    major, minor, micro = (int(part or 0) for part in match.groups())
    return major, minor, micro


def python_refusal(required: str | None, running: tuple[int, int, int] | None = None) -> str | None:
    """Why a plugin with this `[Python] Version` can't run on Python `running` (default: this one); None if it can.

    As for errbot, the version that is named is itself too old: "3.11.4" asks for 3.11.5 at least.
    """
    if required is None:
        return None
    if required == "2":
        return "it is for Python 2"
    running = running or (sys.version_info.major, sys.version_info.minor, sys.version_info.micro)
    if parse_python_version(required) >= running:
        return f"it needs a Python newer than {required}, and this is {'.'.join(map(str, running))}"
    return None


def errbot_refusal(oldest: str | None, newest: str | None, version: str = ERRBOT_VERSION) -> str | None:
    """Why a plugin with this `[Errbot] Min` and `Max`, both inclusive, can't run; None if it can.

    What counts is the errbot that errklein stands for, not errklein's own version.
    """
    here = parse_errbot_version(version)
    if oldest is not None and here < parse_errbot_version(oldest):
        return f"it needs errbot {oldest} or newer, and errklein stands for {version}"
    if newest is not None and here > parse_errbot_version(newest):
        return f"it needs errbot {newest} or older, and errklein stands for {version}"
    return None
