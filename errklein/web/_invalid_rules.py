"""Errors about invalid rules of webhooks."""

from __future__ import annotations

import inspect
import re
from collections.abc import Collection

from errklein.text.suggestions import did_you_mean
from errklein.webhooks import Hook


def rule_error(hook: Hook | None, rule: str, error: Exception, converters: Collection[str]) -> str:
    """Return the error in one line: plugin and method, rule, file and line, reason, and valid converters.

    :param hook: The webhook.
    :param rule: Its rule.
    :param error: The exception that Werkzeug raised.
    :param converters: The names of the converters that a rule may use.
    """
    return f"{hook}: invalid rule {rule!r}{_location(hook)}; {_reason(error, converters)}"


def _reason(error: Exception, converters: Collection[str]) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    if unknown := re.search("converter '(.*?)' does not exist", text):
        meant = did_you_mean(unknown[1], converters) or "."
        return f"unknown converter {unknown[1]!r}{meant} Converters: {', '.join(sorted(converters))}"
    if text.startswith("malformed url rule"):
        return "each variable must be <name> or <converter:name>, such as <int:number>"
    if twice := re.match("duplicate argument '(.*?)'", text):
        return f"the variable {twice[1]!r} occurs twice"
    return text


def _location(hook: Hook | None) -> str:
    """Return the file and the line of the handler, whose first line is that of its decorator."""
    code = getattr(inspect.unwrap(hook.handler), "__code__", None) if hook is not None else None
    return f" in {code.co_filename}, line {code.co_firstlineno}" if code is not None else ""
