"""The routes of webhooks that WEBHOOKS names with a verification, which are accepted while their plugins are inactive."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger

from errklein.storage import StorageError
from errklein.webhooks import Hook, HookDeclaration
from errklein.webhooks.option_values import Rate

if TYPE_CHECKING:
    from errklein.web import Routes

WEBHOOKS = "webhooks"

_FIELDS = ("rule", "methods", "methods_given", "max_body", "ack", "dedupe", "dedupe_window")


class StandbyWebhooks:
    """Stores the routes, since the plugin may be broken after a restart. The verification is the operator's, and isn't stored.

    :param stored: The bot's own stored values.
    :param options: The setting WEBHOOKS.
    :param routes: Gets the webhooks.
    """

    log = Logger()

    def __init__(self, stored: MutableMapping[str, Any], options: Mapping[str, Any], routes: Routes) -> None:
        self._stored = stored
        self._routes = routes
        self._named = {webhook for webhook, its in options.items() if its.get("verify")}
        self._webhooks: Mapping[str, Any] = {}

    def restore(self) -> None:
        """Accept the webhooks that earlier processes have stored, and forget those that aren't named any more."""
        self._webhooks = self._stored.get(WEBHOOKS, {})
        self._use({webhook: its for webhook, its in self._webhooks.items() if webhook in self._named})

    def replace(self, plugin: str, hooks: Sequence[Hook]) -> None:
        """Store the routes of a plugin that has become active, or none of one that was removed, instead of its earlier ones."""
        own = {hook.full_name: _fields(hook.declaration) for hook in hooks if hook.full_name in self._named}
        others = {name: its for name, its in self._webhooks.items() if name.rpartition(":")[0] != plugin}
        if others | own != self._webhooks:
            self._use(others | own)

    def _use(self, webhooks: Mapping[str, Any]) -> None:
        if webhooks != self._webhooks:
            try:
                self._stored[WEBHOOKS] = webhooks
            except StorageError as error:
                self.log.error("The webhooks of inactive plugins can't be stored: {error}", error=str(error))
        self._webhooks = webhooks
        self._routes.stand_by([_hook(webhook, its) for webhook, its in webhooks.items()])


def _fields(declaration: HookDeclaration) -> Mapping[str, Any]:
    return {name: getattr(declaration, name) for name in _FIELDS} | {"rate": str(declaration.rate or "")}


def _hook(webhook: str, fields: Mapping[str, Any]) -> Hook:
    plugin, _, method = webhook.rpartition(":")
    rate = Rate.of(fields["rate"]) if fields["rate"] else None
    declaration = HookDeclaration(**{name: fields[name] for name in _FIELDS}, rate=rate)
    return Hook(plugin, method, declaration, _never_called, active=False)


async def _never_called(payload: object) -> None:
    raise AssertionError("the plugin is inactive")
