"""The precedence of webhooks that claim the same URL and method: the plugin that was activated first gets the requests."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from math import inf

from errklein.webhooks.declaration import Hook

_VARIABLE = re.compile(r"<(?:([a-zA-Z_][a-zA-Z0-9_]*(?:\(.*?\))?):)?[a-zA-Z_][a-zA-Z0-9_]*>")

Claim = tuple[str, str]  # a rule without the names of its variables, and an HTTP method


@dataclass(frozen=True)
class RouteInfo:
    """A hook with its rule and the methods of which it gets the requests. `shadowed_by` is a hook that gets the
    requests of other methods that this one declares; None if there is none."""

    hook: Hook
    rule: str
    methods: tuple[str, ...]
    shadowed_by: Hook | None


class RoutePrecedence:
    """The hooks of each owner, and for each URL and method the queue of hooks that claim it. The first gets the requests."""

    def __init__(self) -> None:
        self.by_owner: dict[str, tuple[Hook, ...]] = {}  # the hooks of each owner
        self._claims: dict[Claim, list[Hook]] = {}
        self._ranks: dict[str, int] = {}
        self.by_name: dict[str, Hook] = {}  # all hooks by their full names

    def hooks(self) -> Iterator[Hook]:
        """Iterate over all hooks, grouped by owner."""
        for hooks in self.by_owner.values():
            yield from hooks

    def replace(self, owner: str, hooks: Sequence[Hook], rank: int | None = None) -> set[str]:
        """Replace all of the owner's hooks. Return the full names of hooks whose methods may have changed.

        :param rank: The owner's number in the order of activation, by default the next one. It is ignored if the owner has
            hooks already; what these don't claim is then queued last.
        """
        old = self.by_owner.get(owner, ())
        if not old:
            self._ranks[owner] = max(self._ranks.values(), default=-1) + 1 if rank is None else rank
        # Claims of remaining hooks keep their position in the queue.
        new = {hook.name: hook for hook in hooks}
        for hook in old:
            renewed = new.get(hook.name)
            for claim in claims_of(hook):
                queue = self._claims[claim]
                if renewed is not None and claim in claims_of(renewed):
                    queue[queue.index(hook)] = renewed
                else:
                    queue.remove(hook)
                    if not queue:
                        del self._claims[claim]
        for hook in hooks:
            for claim in claims_of(hook):
                queue = self._claims.setdefault(claim, [])
                if hook not in queue:
                    queue.insert(self._position(hook, queue, is_new=not old), hook)
        for hook in old:
            self.by_name.pop(hook.full_name, None)
        self.by_name.update((hook.full_name, hook) for hook in hooks)
        if hooks:
            self.by_owner[owner] = tuple(hooks)
        else:
            self.by_owner.pop(owner, None)
            del self._ranks[owner]
        touched = [*old, *hooks]
        rivals = (self._claims.get(claim, ()) for hook in touched for claim in claims_of(hook))
        return {hook.full_name for hook in chain(touched, *rivals)}

    def _position(self, hook: Hook, queue: Sequence[Hook], is_new: bool) -> int:
        """Return the hook's position in the queue: by its rank, or last if its owner has hooks already; of an inactive one, at the end."""
        own = not hook.active, self._ranks.get(hook.owner, inf) if is_new else inf
        places = ((not other.active, self._ranks[other.owner]) for other in queue)
        return next((n for n, place in enumerate(places) if place > own), len(queue))

    def info(self, hook: Hook) -> RouteInfo:
        """Return the methods of which the hook gets the requests."""
        methods = []
        by = None
        for claim in claims_of(hook):
            first = self._claims[claim][0]
            if first is hook:
                methods.append(claim[1])
            else:
                by = first
        return RouteInfo(hook, hook.declaration.rule, tuple(methods), by)

    def newly_shadowed(self, hooks: Sequence[Hook], old: Sequence[Hook]) -> Iterator[tuple[Hook, Hook]]:
        """Iterate over pairs of a shadowed hook and the hook that shadows it, for pairs with a hook that isn't in `old`."""
        known = {hook.name for hook in old}
        losers: dict[str, tuple[Hook, Hook]] = {}
        for hook in hooks:
            if hook.name in known:
                continue
            by = self.info(hook).shadowed_by
            if by is not None:
                yield hook, by
            for claim in claims_of(hook):
                first, *others = self._claims[claim]
                if first is hook and others and others[0].owner != hook.owner:
                    losers[others[0].full_name] = others[0], hook
        yield from losers.values()


def claims_of(hook: Hook) -> list[Claim]:
    """Return the claims of a hook. Rules that differ only in the names of their variables are the same URL."""
    rule = _VARIABLE.sub(lambda variable: f"<{variable[1] or 'string'}>", hook.declaration.rule)
    methods = list(dict.fromkeys(hook.declaration.methods))
    if "GET" in methods and "HEAD" not in methods:
        methods.append("HEAD")
    return [(rule, method) for method in methods]
