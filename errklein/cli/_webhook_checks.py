"""Checks of webhooks for `errklein check`: names in WEBHOOKS, secrets, and webhooks that links can call."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress

from errklein.config.secrets import SecretError, read_secret
from errklein.core_plugins import CorePlugin
from errklein.plugins import BotPlugin
from errklein.plugins.method_sources import handlers_once_active
from errklein.plugins.plugin import PluginProblem
from errklein.webhooks import Hook, HookDeclaration
from errklein.webhooks.errors import HookError


def configured_hooks(plugin: BotPlugin, configure: Callable[[Hook], Hook]) -> Iterator[Hook]:
    """Yield the webhooks of a plugin as the operator has configured them; as declared if that is impossible."""
    for name, handler in handlers_once_active(plugin):
        declaration = HookDeclaration.of(handler)
        if declaration is not None:
            hook = Hook(plugin.name, name, declaration, handler)
            with suppress(HookError):
                hook = configure(hook)
            yield hook


def secret_problems(hooks: Iterable[Hook]) -> Iterator[PluginProblem]:
    """Yield a problem for each secret of a webhook that is missing, empty or can't be read."""
    for hook in hooks:
        verify = hook.declaration.verify
        for reference in verify.secrets if verify is not None else ():
            try:
                read_secret(reference)
            except SecretError as error:
                text = f"{hook.full_name} responds with 503, since its requests can't be verified: {error}"
                yield PluginProblem(text, hook.owner)


def webhook_warnings(plugins: Sequence[BotPlugin], configure: Callable[[Hook], Hook]) -> Iterator[str]:
    """Yield warnings about webhooks whose methods nobody has chosen, and verifications that the operator has switched off."""
    by_links = []
    for plugin in plugins:
        for hook in configured_hooks(plugin, configure):
            declared, author = hook.declaration, HookDeclaration.of(hook.handler)
            if author is not None and author.verify is not None and declared.verify is None:
                yield f"WEBHOOKS[{hook.full_name!r}]: anyone can call this webhook, since its verification is switched off"
            if "GET" in declared.methods and not (
                declared.methods_given or declared.verify or isinstance(plugin, CorePlugin)
            ):
                by_links.append(hook.full_name)
    if by_links:
        yield (
            f"the preview of a posted link calls these webhooks, since they accept GET by default: {', '.join(by_links)}; "
            "set WEBHOOK_METHODS = ('POST',), or the methods of each webhook"
        )
