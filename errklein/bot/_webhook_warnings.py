"""Notices to administrators about webhooks that fail, take too long, or share a URL."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from twisted.python.failure import Failure

from errklein.plugins.load_errors import located_error
from errklein.plugins.plug_file import PlugFile
from errklein.plugins.plugin import Plugin, UnknownPlugin
from errklein.running.rate_limit import RateLimit
from errklein.text.errors import line_in
from errklein.webhooks import Hook

MOST_NOTICES = 100
"""The maximal number of notices per minute."""


class TellAdmins(Protocol):
    """`AdminNotices.tell_admins`."""

    def __call__(self, text: str, summary: str = "") -> None: ...


class WebhookWarnings:
    """Notifies administrators of what the web server reports about plugins' handlers.

    A handler causes one notice a minute for its timeouts, and one for each type of exception and line of code. Handlers cause
    at most MOST_NOTICES a minute together.

    :param tell_admins: Sends a notice.
    :param plugin: Returns the plugin of a name; raises UnknownPlugin.
    """

    def __init__(self, reactor: Any, tell_admins: TellAdmins, plugin: Callable[[str], Plugin]) -> None:
        self._tell_admins = tell_admins
        self._plugin = plugin
        self._limit = RateLimit(reactor.seconds, most=MOST_NOTICES)

    def handler_failed(self, hook: Hook, request_id: str, failure: Failure) -> None:
        """Send the file, the line and the exception's text, which only administrators get, and only in private."""
        error = failure.value
        assert error is not None
        plug = self._file(hook)
        if not self._limit.allows(("failed", hook.key, type(error), line_in(plug.directory, error))):
            return
        failed = f"The webhook {hook} ({hook.declaration.rule}) failed"
        self._tell_admins(
            f"{failed} on request {request_id}. {located_error(plug, error)}",
            f"{failed} with {type(error).__name__} on request {request_id}",
        )

    def handler_overdue(self, hook: Hook, request_id: str, seconds: float) -> None:
        """Send a notice that the response is overdue."""
        if self._limit.allows(("overdue", hook.key)):
            self._tell_admins(
                f"The webhook {hook} ({hook.declaration.rule}) has not responded in {seconds:g} s. Its sender got 504, "
                f"and the handler is still running (request {request_id})."
            )

    def hook_shadowed(self, hook: Hook, by: Hook) -> None:
        """Send a notice that two plugins declare the same URL, and which of them gets its requests."""
        self._tell_admins(
            f"{hook.owner} and {by.owner} both declare the URL {hook.declaration.rule}. Requests go to {by}; they go to "
            f"{hook} when {by.owner} is deactivated."
        )

    def _file(self, hook: Hook) -> PlugFile:
        try:
            return self._plugin(hook.owner).plug
        except UnknownPlugin:
            # A Flask application, or another object that isn't a plugin, may have handlers too.
            path = Path(inspect.getfile(inspect.unwrap(hook.handler)))
            return PlugFile(hook.owner, path.stem, path)
