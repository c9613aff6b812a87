"""Context variables of the work in progress. They are copied into the threads of handlers."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Generic, TypeVar

from errklein.commands import RegisteredCommand

T = TypeVar("T")

request_id: ContextVar[str] = ContextVar("errklein.request_id", default="-")
"""The id of the request or message being handled, for log lines; "-" outside of any."""

handled_network: ContextVar[str] = ContextVar("errklein.network", default="")
"""The name of the network whose message or other event is being handled; "" outside of any."""

origin: ContextVar[str] = ContextVar("errklein.origin", default="")
"""The origin of the work in progress: `route:Plugin:method`, `person:network/name` or `plugin:Name`; "" for the bot itself.

Pools and outboxes are shared among origins."""

handled_delivery: ContextVar[tuple[str, int]] = ContextVar("errklein.delivery", default=("", 0))
"""The origin and the id of the webhook's delivery that is being handled; read it with `causing_delivery`."""

anywhere: ContextVar[str] = ContextVar("errklein.anywhere", default="")
"""The origin of the handler that is running if its webhook has `anywhere`; "" otherwise. Ask `check_in_owner`."""

running_command: ContextVar[RegisteredCommand | None] = ContextVar("errklein.command", default=None)
"""The running command. Its settings decide where its questions are asked."""

sent_by_bot: ContextVar[bool] = ContextVar("errklein.sent_by_bot", default=False)
"""Whether the bot sends a message, so that callback_botmessage has been called for it."""

running_change: ContextVar[object] = ContextVar("errklein.change", default=None)
"""The change to plugins that the running code belongs to, compared by identity."""

running_activation: ContextVar[object] = ContextVar("errklein.activation", default=None)
"""The activation of a plugin that the running code belongs to; read it with `plugins.lifecycle.current`."""


class OnlyInOwner(RuntimeError):
    """Something can only be done in the process that owns plugins and networks: a handler of a webhook with `anywhere` asks for it,
    or a command."""


def check_in_owner(what: str, instead: str = "remove the option") -> None:
    """Raise OnlyInOwner in a handler of a webhook with `anywhere`, wherever it runs, so that it fails at its author's, too."""
    route = anywhere.get()
    if route and route == origin.get():
        text = f"{route.removeprefix('route:')} has anywhere=True, so it may run in a process without the networks, and can't {what}"
        raise OnlyInOwner(f"{text}; {instead}")


def causing_delivery() -> int:
    """Return the id of the delivery that has caused the work in progress; 0 for none. A poller that a handler has
    started is a work of its plugin: it has another origin, although it has the variables of the handler."""
    of_origin, number = handled_delivery.get()
    return number if number and of_origin == origin.get() else 0


def person_origin(network: str, person: object) -> str:
    """Return the origin of a person's commands. In all rooms of the network, and directly, it is the same."""
    return f"person:{network}/{getattr(person, 'person', person)}"


def described_origin(origin: str) -> str:
    """Return an origin in words."""
    kind, _, name = origin.partition(":")
    texts = {"route": f"the webhook {name}", "person": f"commands of {name}", "plugin": f"the plugin {name}"}
    return texts.get(kind, "the bot")


class assigned(Generic[T]):  # noqa: N801 - used as a function
    """A context manager that sets a context variable, also for work that is started in its block."""

    # Used several times for each message; a generator would be slower.
    __slots__ = ("_token", "_value", "_variable")

    def __init__(self, variable: ContextVar[T], value: T) -> None:
        self._variable = variable
        self._value = value

    def __enter__(self) -> None:
        self._token = self._variable.set(self._value)

    def __exit__(self, *raised: object) -> None:
        self._variable.reset(self._token)
