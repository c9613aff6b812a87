"""The operator's options of webhooks, which take precedence over those of plugins: the setting WEBHOOKS."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from errklein.text.suggestions import did_you_mean
from errklein.verify import SCHEMES, Verification, verification
from errklein.webhooks.declaration import DEFAULT_METHODS, Hook, HookDeclaration
from errklein.webhooks.option_values import (
    CHECKS,
    OPTION_FIELDS,
    HookError,
    InvalidOption,
    check_names,
    check_option,
    check_together,
)
from errklein.webhooks.room_webhooks import NAME
from errklein.webhooks.source import FindSource, Source

HookOptions = Mapping[str, Any]  # the options of one webhook, as fields of its declaration


def hook_options(setting: Any) -> Mapping[str, HookOptions]:
    """Return the options of plugins' webhooks in the value of WEBHOOKS, by the names of webhooks.

    The value is a dict such as `{"Github:notification": {"verify": "github", "secret": "env:GH_SECRET", "rate": "10/s"}}`. The
    keys of an inner dict are options of the decorator, and those of the verification. Names without a colon are webhooks of
    rooms, which are left out.

    :raises HookError: A name, a key or a value is invalid.
    """
    if not isinstance(setting, Mapping):
        raise HookError(f"WEBHOOKS: expected a dict of webhooks, not a {type(setting).__name__}")
    for route in setting:
        plugin, _, method = route.rpartition(":") if isinstance(route, str) else ("", "", "")
        if not (plugin.strip() and method.isidentifier()) and not (isinstance(route, str) and NAME.fullmatch(route)):
            raise HookError(
                "WEBHOOKS: expected names such as 'Github:notification', of a plugin and its method, or such as 'alerts', "
                f"of a webhook of a room, not {route!r}"
            )
    return {route: _options_of(route, options) for route, options in setting.items() if ":" in route}


def configured(
    hook: Hook, options: Mapping[str, HookOptions], default_methods: Sequence[str], find_source: FindSource
) -> Hook:
    """Return the webhook as the operator has configured it. Raises HookError."""
    own = options.get(hook.full_name, {})
    fields = dict(own)
    if "methods" in own:
        fields["methods_given"] = True
    elif not hook.declaration.methods_given and hook.declaration.methods == DEFAULT_METHODS:
        fields["methods"] = tuple(default_methods)
    declaration = replace(hook.declaration, **fields)
    try:
        if own:
            check_together(vars(declaration))
    except InvalidOption as error:
        raise HookError(f"WEBHOOKS[{hook.full_name!r}]: {error}") from None
    if declaration.source_name:
        declaration = _of_source(hook, declaration, find_source, is_verified="verify" in own)
    return replace(hook, declaration=declaration)


def _of_source(
    hook: Hook, declaration: HookDeclaration, find_source: FindSource, *, is_verified: bool
) -> HookDeclaration:
    """Return the declaration with its source, whose verification it has unless the operator has set another one."""
    try:
        source = find_source(declaration.source_name)
        verify = declaration.verify if is_verified else _verification_of(hook.full_name, source, declaration.secret)
    except ValueError as error:
        raise HookError(f"{hook.full_name}: {error}") from None
    methods = declaration.methods if declaration.methods_given else ("POST",)
    return replace(declaration, source=source, verify=verify, methods=methods)


@lru_cache(1024)
def _verification_of(webhook: str, source: Source, secret: Sequence[str]) -> Verification:
    """Return the verification by a source: always the same, so that a webhook that doesn't change keeps its rate at a reload."""
    if secret:
        return source.verification(secret=secret)
    reason = (
        f"no secret of {source.title} is configured; set it in config.py, by the option secret of WEBHOOKS[{webhook!r}], "
        "such as env:NAME"
    )
    return Verification(source.name, lambda received, secrets: None, unusable=reason)


def unknown_hooks(options: Iterable[str], methods: Mapping[str, Iterable[str] | None]) -> Iterator[tuple[str, str]]:
    """Yield the plugin and an error for each name of a webhook that doesn't exist."""
    for route in options:
        plugin, _, method = route.rpartition(":")
        if plugin not in methods:
            yield plugin, f"WEBHOOKS[{route!r}]: unknown plugin {plugin!r}{did_you_mean(plugin, methods)}"
        elif (known := methods[plugin]) is not None and method not in (names := sorted(known)):
            hint = did_you_mean(method, names) or (f"; it has {', '.join(names)}" if names else "; it has none")
            yield plugin, f"WEBHOOKS[{route!r}]: the plugin {plugin} has no webhook {method!r}{hint}"


def _options_of(route: str, given: Any) -> HookOptions:
    try:
        if not isinstance(given, Mapping):
            raise ValueError(f"expected a dict of options, not a {type(given).__name__}")
        options, scheme = dict(given), given.get("verify")
        if isinstance(scheme, str):
            # An unknown scheme is reported before its options.
            names = inspect.signature(SCHEMES[scheme]).parameters if scheme in SCHEMES else {}
            check_names(options if names else (), (*CHECKS, *names))
            options["verify"] = verification(scheme, **{name: options.pop(name) for name in names if name in options})
        check_names(options, CHECKS)
        return {OPTION_FIELDS.get(name, name): check_option(name, value) for name, value in options.items()}
    except ValueError as error:
        raise HookError(f"WEBHOOKS[{route!r}]: {error}") from None
