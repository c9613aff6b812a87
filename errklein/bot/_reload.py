"""The reload of the configuration while the bot runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from errklein.commands.operations import Actor
from errklein.config import Config, ConfigError, SecretError, located_errors, read_secrets
from errklein.config.changes import Change, apply, changes_of, risks
from errklein.logs import destinations
from errklein.sources import find_source
from errklein.web import WebSettings
from errklein.webhooks import Hook
from errklein.webhooks.option_values import HookError
from errklein.webhooks.options import configured
from errklein.webhooks.room_webhooks import room_webhooks

if TYPE_CHECKING:
    from errklein.bot._bot import Bot


_UNKNOWN = object()  # the verification that an inactive plugin declares, or doesn't


def change_config(bot: Bot, fresh: Config, by: Actor, *, is_forced: bool) -> list[Change]:
    """Apply what needs no restart of a configuration that was read again, all of it or nothing, and return what
    differs. Raises ConfigError, before anything changes."""
    config = bot.bot_config
    changes = list(changes_of(config, fresh))
    settings = WebSettings.of(fresh if config.names_networks == fresh.names_networks else config)
    options = _options(bot, settings, config, fresh)
    dangers = [*risks(config, fresh), *_unverified(bot, options)]
    if dangers and not is_forced:
        raise ConfigError(f"{'; '.join(dangers)}. Add --force to apply this nevertheless")
    if changes:
        done = f"{by.name} has reloaded the configuration"
        texts, names = ("; ".join(one.line(details=details) for one in changes) for details in (True, False))
        # Before the change, so that an administrator who is removed is notified, too.
        bot.tell_admins(f"{done}: {texts}", f"{done}: {names}")
    apply(config, fresh)
    bot.web.use(replace(WebSettings.of(config), webhooks=options))
    bot.room_webhooks.use_settings(room_webhooks(config.setting("WEBHOOKS"), find_source))
    bot.plugin_manager.standby.look()
    destinations.use_level(config.BOT_LOG_LEVEL)
    bot.plugins_changed()
    return changes


def _options(bot: Bot, settings: WebSettings, config: Config, fresh: Config) -> Mapping[str, Any]:
    """Return the options of webhooks, those that don't change as the same objects. Raises ConfigError if they can't be
    used. Then their webhooks stay the same objects, too, with the rates that they have used up."""
    before, after = config.setting("WEBHOOKS"), fresh.setting("WEBHOOKS")
    used = bot.web.site.settings.webhooks
    options = dict(settings.webhooks)
    options |= {name: used[name] for name in options if name in used and before.get(name) == after.get(name)}
    with located_errors(fresh):
        try:
            verifications = {name: its.get("verify") for name, its in options.items()}
            for hook in _declared(bot).values():
                declaration = configured(hook, options, settings.default_methods, find_source).declaration
                verifications[hook.full_name] = declaration.verify
            for name in [name for name, its in options.items() if its is not used.get(name)]:
                verify = verifications[name]
                read_secrets(None if verify is None or verify.unusable else verify)
            for name, one in room_webhooks(after, find_source).items():
                if one != bot.room_webhooks.find(name):
                    read_secrets(one.declaration(find_source, "").verify)
        except HookError as error:
            raise ConfigError(str(error), "WEBHOOKS") from None
        except SecretError as error:
            raise ConfigError(f"WEBHOOKS[{name!r}]: {error}", "WEBHOOKS") from None
    return options


def _declared(bot: Bot) -> Mapping[str, Hook]:
    return {hook.full_name: hook for hooks in bot.web.routes.declared.values() for hook in hooks}


def _unverified(bot: Bot, options: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each webhook that would no longer be verified, those of inactive plugins included."""
    declared = {name: hook.declaration for name, hook in _declared(bot).items()}
    # A webhook with a source has its verification.
    own, used = (
        {name: one.verify or one.source_name or None for name, one in declared.items()},
        bot.web.site.settings.webhooks,
    )
    lost = []
    for name in sorted({*used, *options}):
        before, after = (its.get(name, {}).get("verify", own.get(name, _UNKNOWN)) for its in (used, options))
        if before is not None and (after is None or (after is _UNKNOWN and before is not _UNKNOWN)):
            lost.append(name)
    return [f"WEBHOOKS: {name} would no longer be verified" for name in lost]
