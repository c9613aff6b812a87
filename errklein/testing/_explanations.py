"""Explanations of error responses, failed commands and deliveries that wait, which a failed assertion contains."""

from __future__ import annotations

import asyncio
import linecache
import re
import sys
import sysconfig
import traceback
from collections.abc import Iterable, Iterator, Sequence
from html import unescape
from itertools import zip_longest
from math import ceil
from pathlib import Path
from types import FrameType
from typing import Any

from twisted.python.failure import Failure

from errklein.testing._client import Requests
from errklein.text.errors import one_line
from errklein.text.suggestions import most_similar
from errklein.web import ClientResponse
from errklein.webhooks.deliveries import StoredDelivery

_PACKAGE = Path(__file__).parent.parent
_LIBRARIES = tuple(sysconfig.get_path(name) for name in ("purelib", "platlib", "stdlib"))

_DETAIL = re.compile(r"<p>(.*?)</p>")


def explain_response(
    method: str, url: str, response: ClientResponse, rules: Iterable[str], failure: Failure | None
) -> str:
    """Return the cause of an error response, such as "POST /note: 404, no webhook matches this path; did you mean /notes?".

    :param method: The method of the request.
    :param url: The path of the request.
    :param response: The response.
    :param rules: The rules of all webhooks.
    :param failure: The failure that was logged during the request, if there is one.
    :returns: The explanation; "" if the status is below 400.
    """
    if response.status < 400:
        return ""
    path = url.partition("?")[0]
    if response.status == 404 and "no webhook" in response.text:
        similar = _similar_rule(path, rules)
        reason = "no webhook matches this path" + (f"; did you mean {similar}?" if similar else "")
    elif response.status == 405 and (allowed := response.header("allow")):
        reason = f"the webhook at this path doesn't accept {method}; it accepts {allowed}"
    elif response.status == 500 and failure is not None:
        reason = explain_failure(failure)
    else:
        reason = _detail(response)
    return f"{method} {path}: {response.status}, {reason}"


def _similar_rule(path: str, rules: Iterable[str]) -> str:
    """Return the rule that resembles the path most, whatever its variables are; "" if none does."""
    segments = path.split("/")
    filled = {"/".join(_filled(rule.split("/"), segments)): rule for rule in rules}
    return filled.get(most_similar(path, filled), "")


def _filled(rule: list[str], path: list[str]) -> Iterator[str]:
    for part, value in zip_longest(rule, path[: len(rule)], fillvalue=""):
        yield value if "<" in part else part


def explain_replies(
    text: str, replies: Sequence[str], prefix: str, failure: Failure | None, similar: Sequence[str] | None
) -> str:
    """Return the cause of a failed command, such as "!buidl: command not found; did you mean !build?"; "" without an error.

    :param similar: The commands with similar names if the command is unknown; None otherwise.
    """
    if failure is not None:
        return f"{text}: {explain_failure(failure)}"
    if similar is not None:
        meant = " or ".join(prefix + name for name in similar)
        return f"{text}: command not found" + (f"; did you mean {meant}?" if meant else "")
    if not replies and prefix and not text.startswith(prefix):
        return f"{text}: not a command without the prefix; did you mean {prefix}{text}?"
    return ""


def explain_no_response(method: str, url: str, waiting: Sequence[str]) -> str:
    """Return why a request has no response yet, and how a test lets time pass for its handler."""
    name = method.lower()
    call = f"self.bot.{name}(…)" if hasattr(Requests, name) else f'self.bot.request("{method}", …)'
    return (
        f"{method} {url}: {waiting[-1]} waits; use `waiting = {call}`, `self.bot.advance(…)` and "
        "`self.successResultOf(waiting)`"
    )


def explain_waiting(deliveries: Sequence[StoredDelivery], now: float) -> str:
    """Return how many deliveries of `ack="now"` wait, and the call that runs the first; "" if none waits."""
    if not deliveries:
        return ""
    seconds = max(0, ceil(min(delivery.due_at for delivery in deliveries) - now))
    what = "1 delivery waits" if len(deliveries) == 1 else f"{len(deliveries)} deliveries wait"
    return f"{what}; call advance({seconds})"


def explain_count(text: str, replies: Sequence[str], waiting: Sequence[str]) -> str:
    """Return why a command doesn't have exactly one reply: its handler waits, or it sends several or none."""
    if waiting and not replies:
        return f"{text}: {waiting[-1]} waits; use `self.bot.say`, `self.bot.advance(…)` and `self.bot.messages`"
    return f"{text}: {len(replies) or 'no'} replies instead of one; bot.say() returns any number of them"


def explain_failure(failure: Failure) -> str:
    """Return the exception with file and line of the plugin's or test's code, and the source line below it."""
    error = failure.value
    assert error is not None
    frames = traceback.extract_tb(error.__traceback__)
    place = next((frame for frame in reversed(frames) if _is_own(frame.filename)), frames[-1] if frames else None)
    if place is None or place.lineno is None:
        return f"{type(error).__name__}: {one_line(error)}"
    where = f"{type(error).__name__} in {Path(place.filename).name}, line {place.lineno}: {one_line(error)}"
    source = linecache.getline(place.filename, place.lineno).strip()
    return f"{where}\n    {place.lineno} | {source}" if source else where


def calling_line() -> str:
    """Return the file and the line of the test or plugin that has called into a library, as "test_builds.py:17"; "" if none has."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and not _is_own(frame.f_code.co_filename):
        frame = frame.f_back
    return "" if frame is None else f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"


def _is_own(file: str) -> bool:
    path = Path(file)
    return not path.is_relative_to(_PACKAGE) and not any(path.is_relative_to(library) for library in _LIBRARIES)


def _detail(response: ClientResponse) -> str:
    """Return the reason in the body of an error response."""
    if "problem+json" in (response.header("content-type") or ""):
        return str(response.json().get("detail", response.reason))
    found = _DETAIL.search(response.text)
    if found is not None:
        return unescape(found[1])
    return " ".join(f"{response.reason} {response.text}".split())[:200]


def explain_left_over(left: Sequence[str], waiting: Sequence[str]) -> str:
    """Return the text of the error.

    :param left: What is left, as `describe_call` returns it.
    :param waiting: The handlers that waited when the test ended.
    """
    found = f"left over after the bot has stopped: {', '.join(left)}"
    if waiting:
        handlers, respond = " and ".join(waiting), "it responds" if len(waiting) == 1 else "they respond"
        return f"the test ended while {handlers} waited; call `self.bot.advance(…)` until {respond} ({found})"
    return f"{found}; end them in the plugin's deactivate()"


def describe_call(call: Any) -> str:
    """Return the function of a delayed call, or the callback of an asyncio timer."""
    handle = next(iter(getattr(call, "args", ())), None)
    if not isinstance(handle, asyncio.TimerHandle):
        return f"delayed call of {getattr(call, 'func', call)!r}"
    callback: Any = getattr(handle, "_callback", None)
    if getattr(callback, "__module__", "").startswith(("asyncio", "_asyncio")):
        # The callback of asyncio.sleep and of timeouts is a private function, which says nothing to the reader.
        return "asyncio timer"
    return f"asyncio timer of {callback!r}"
