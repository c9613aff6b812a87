"""The call of a blocking handler in a thread."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from werkzeug.exceptions import HTTPException

from errklein.web._responses import ReactorValue, prepare_response
from errklein.webhooks import Hook

if TYPE_CHECKING:
    from errklein.web._delivery import Delivery
    from errklein.web.facade.context import RequestContext


class RouteChanged(Exception):
    """The routes have changed since the request was matched."""


def break_cycles(error: BaseException | None) -> None:
    """Remove the traceback and context of an error, whose frames would keep the body until the next garbage collection."""
    if error is not None:
        error.__traceback__ = error.__context__ = None


@dataclass(eq=False)
class HandlerCall:
    """The function that runs in a thread: decodes the payload, calls the handler, and prepares the response."""

    delivery: Delivery
    context: RequestContext
    hook: Hook
    captures: Mapping[str, Any]

    @property
    def __self__(self) -> object:
        """The plugin's instance, by which the runner counts running handlers."""
        return getattr(self.hook.handler, "__self__", None)

    @property
    def __name__(self) -> str:
        """The name of the handler, as `!status plugins` shows it while it runs."""
        return self.hook.name

    def __call__(self) -> Any:
        payload = self.context.payload()
        # The plugin may have been reloaded since the thread was chosen.
        if not self.delivery.still_runs(self.hook):
            raise RouteChanged
        try:
            value = self.hook.handler(payload, **self.captures)
        except HTTPException as error:
            value = error
            break_cycles(error)
            self.delivery.note_rejection(error)
        response = prepare_response(value, self.context)
        # The runner continues a Deferred or a coroutine on the reactor.
        return response.value if type(response) is ReactorValue else response
