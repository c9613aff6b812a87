"""The state of one activation of a plugin."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.failure import Failure

from errklein.plugins.plugin import Plugin, PluginActivationException
from errklein.running.context import running_activation


@dataclass
class Batch:
    """State that the activations of one change share: plugins that have failed, and ranks assigned in advance."""

    ranks: dict[str, int] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)


@dataclass(eq=False)
class Activation:
    """One activation of a plugin's instance, from its start until its last method has returned.

    `step` is the method called last, and `waits_for` names the plugins that it waits for. `late` is True once the
    timeout has passed, `given_up` if the plugin is to be inactive when the activation ends, and `ended` if the instance
    was deactivated meanwhile.
    """

    plugin: Plugin
    batch: Batch
    new_rank: Callable[[], int]
    configuration: Callable[[], Any]
    step: str = ""
    waits_for: list[str] = field(default_factory=list)
    late: bool = False
    given_up: bool = False
    ended: bool = False
    _outcome: Failure | None = None
    _done: bool = False
    _waiting: list[Deferred[None]] = field(default_factory=list)
    _dependents: list[Deferred[None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.instance = self.plugin.instance
        self._rank = self.batch.ranks.get(self.plugin.name)

    @property
    def rank(self) -> int:
        """The plugin's number in the order of activation. A late activation gets a new number at each access."""
        if self._done or self.late or self.given_up:
            return self.new_rank()
        if self._rank is None:
            self._rank = self.new_rank()
        return self._rank

    def when_done(self) -> Deferred[None]:
        """Return a Deferred that fires when the plugin is active, or fails with the error of the activation."""
        return self._wait(self._waiting)

    def when_usable(self) -> Deferred[None]:
        """Return a Deferred as `when_done`, for another activation; it also fires at `release`."""
        return self._wait(self._dependents)

    def _wait(self, others: list[Deferred[None]]) -> Deferred[None]:
        if self._done:
            return succeed(None) if self._outcome is None else fail(self._outcome)
        others.append(waiting := Deferred[None]())
        return waiting

    def release(self) -> None:
        """Let the activations that wait for this one continue."""
        dependents, self._dependents = self._dependents, []
        for one in dependents:
            one.callback(None)

    def finish(self, outcome: Failure | None) -> None:
        """Fire the Deferreds of `when_done` and `when_usable`. Further calls have no effect."""
        if self._done:
            return
        self._done, self._outcome = True, outcome
        waiting, self._waiting, self._dependents = [*self._waiting, *self._dependents], [], []
        for one in waiting:
            if outcome is None:
                one.callback(None)
            else:
                one.errback(outcome)


def current() -> Activation | None:
    """Return the activation that the running code belongs to, or None."""
    activation = running_activation.get()
    return activation if isinstance(activation, Activation) else None


def still_activating(name: str) -> PluginActivationException:
    """Return the error of a change that requires an activation to end first."""
    return PluginActivationException(f"{name} is still being activated.")


def given_up(name: str) -> PluginActivationException:
    """Return the error of an activation that was given up."""
    return PluginActivationException(f"{name} was deactivated while it was being activated.")
