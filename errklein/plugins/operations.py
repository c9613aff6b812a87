"""Operations of administrators on plugins, in a chat, on the command line and on a web page, and forms of configurations."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pprint import pformat
from typing import Any

from errklein.commands.operations import Actor, Guard, operation
from errklein.plugins.botplugin import BotPlugin
from errklein.plugins.loading import FileChanges
from errklein.plugins.manager import PluginManager
from errklein.plugins.plug_file import PlugFile
from errklein.plugins.plugin import Plugin, PluginConfigurationException, PluginError, State
from errklein.text.masking import MASK, is_secret, mask_values, masker

_MOST_STORED = 50
_LONGEST = 100_000  # the characters of a literal
_MISSING = object()


@dataclass(frozen=True)
class PluginSummary:
    """A plugin in a list."""

    name: str
    is_core: bool
    is_active: bool
    state: State
    letters: str  # the letter of its state, after "B," if it is blacklisted
    remark: str  # its problems in one line; "" if there are none
    # Its files that differ from the running code, without names for people who may not read details; None if the disk doesn't respond.
    changes: FileChanges | None


@dataclass(frozen=True)
class PluginDetails(PluginSummary):
    """All that is known of a plugin."""

    plug: PlugFile
    class_name: str  # "" if it could not be loaded
    configuration: Any  # the stored one, with secrets masked unless the actor reads details; None without one
    stored: Sequence[tuple[str, str]]  # the representations of stored keys and values, or why a value can't be shown
    more: int  # the number of further values


class PluginOperations:
    """Lists, shows, activates, configures and reloads plugins. All raise PluginError."""

    def __init__(self, manager: PluginManager) -> None:
        self._manager = manager

    @operation("status_plugins")
    async def plugins(self, by: Actor) -> list[PluginSummary]:
        found = self._manager.found
        changes = await self._manager.changed_files([plugin.plug for plugin in found])
        return [PluginSummary(**self._summary(plugin, changes, by)) for plugin in found]

    @operation("status_plugins")
    def unusable(self, by: Actor) -> Sequence[str]:
        return [text for _, text in sorted(self._manager.unusable.items())] if by.reads_details else ()

    @operation("plugin_info", "name")
    async def plugin(self, by: Actor, name: str) -> PluginDetails:
        """Return all that is known of a plugin. Secrets and stored values are masked unless the actor reads details."""
        plugin = self._manager.plugin(name)
        summary = self._summary(plugin, await self._manager.changed_files([plugin.plug]), by)
        instance = plugin.instance
        keys = list(instance) if instance is not None and BotPlugin.is_open_storage(instance) else []
        return PluginDetails(
            **summary,
            plug=plugin.plug,
            class_name="" if instance is None else type(instance).__qualname__,
            configuration=_visible(self._manager.configuration(name), by),
            stored=list(_represented(instance, keys[:_MOST_STORED], by)),
            more=len(keys[_MOST_STORED:]),
        )

    def _summary(self, plugin: Plugin, changes: Mapping[str, FileChanges] | None, by: Actor) -> dict[str, Any]:
        its = None if changes is None else changes.get(plugin.name, FileChanges())
        if its is not None and not by.reads_details:
            its = FileChanges([""] * len(its.changed), [""] * len(its.removed))
        return {
            "name": plugin.name,
            "is_core": plugin.plug.core,
            "is_active": plugin.active,
            "state": self._manager.state(plugin),
            "letters": self._manager.letters(plugin),
            "remark": self._manager.remark(plugin, details=by.reads_details),
            "changes": its,
        }

    @operation("plugin_config", "name")
    async def configuration(self, by: Actor, name: str) -> tuple[Any, Any]:
        template, stored = await self._configurable(name)
        return template, _visible(stored, by)

    async def _configurable(self, name: str) -> tuple[Any, Any]:
        if self._manager.is_blacklisted(name):
            raise PluginError(f"{name} is blacklisted; use `plugin unblacklist {name}` first.")
        return await self._manager.configuration_template(name), self._manager.configuration(name)

    @operation("plugin_config", "name")
    async def form(self, by: Actor, name: str) -> ConfigForm:
        return form_of(await self._manager.configuration_template(name), self._manager.configuration(name))

    @operation("plugin_config", "name", "given", changes=True, hidden=("given",))
    async def configure_from(self, by: Actor, name: str, given: Mapping[str, str] | str) -> None:
        """Check, store and apply the configuration of a form, or a Python literal, which activates the plugin; see `form`."""
        try:
            configuration = configuration_of(*await self._configurable(name), given)
        except ValueError as error:
            raise PluginConfigurationException(str(error)) from None
        await self._manager.configure(name, configuration)

    @operation("plugin_activate", "name", changes=True)
    async def activate(self, by: Actor, name: str) -> None:
        await self._manager.activate(name)

    @operation("plugin_deactivate", "name", changes=True)
    async def deactivate(self, by: Actor, name: str) -> None:
        await self._manager.deactivate(name)

    @operation("plugin_reload", "name", changes=True)
    async def reload(self, by: Actor, name: str) -> bool:
        await self._manager.reload(name)
        return self._manager.plugin(name).active

    @operation("plugin_blacklist", "name", changes=True)
    async def blacklist(self, by: Actor, name: str) -> bool:
        """Deactivate a plugin now and at every start. Return False if it was blacklisted already."""
        plugin, guard = self._manager.plugin(name), Guard.of(PluginOperations.unblacklist)
        if guard is not None and hasattr(plugin.instance, guard.command):
            raise PluginError(f"The plugin {name} can't be blacklisted: it provides the command to undo that.")
        is_new = self._manager.set_blacklisted(name, True)
        if self._manager.is_active_or_late(plugin):
            await self._manager.deactivate(name)
        return is_new

    @operation("plugin_unblacklist", "name", changes=True)
    async def unblacklist(self, by: Actor, name: str) -> bool:
        """Allow a plugin to be active. Return False if it wasn't blacklisted. It may be one that was removed meanwhile."""
        if not self._manager.is_blacklisted(name):
            self._manager.plugin(name)
        return self._manager.set_blacklisted(name, False)


def _visible(value: Any, by: Actor, secret: bool = False) -> Any:
    return value if by.reads_details else mask_values(value, secret)


def not_shown(error: Exception, by: Actor) -> str:
    """Return why a value can't be shown: the exception's type and, if the actor may read it, its text."""
    return f"can't be shown: {type(error).__name__}" + (f": {masker(str(error))}" if by.reads_details else "")


def _represented(instance: Any, keys: Sequence[str], by: Actor) -> Iterator[tuple[str, str]]:
    for key in keys:
        try:
            yield repr(key), repr(_visible(instance[key], by, secret=True))
        except Exception as error:
            # The key may have been removed meanwhile, the value may be unreadable, or its repr may raise.
            yield repr(key), not_shown(error, by)


@dataclass(frozen=True)
class ConfigForm:
    """A configuration without its secrets."""

    # The values by key, each with whether it is secret, if all are texts, numbers or booleans; else None.
    fields: Mapping[str, tuple[object, bool]] | None
    text: str = ""  # without fields, the configuration as a Python literal; "" if the plugin has none


def form_of(template: Any, stored: Any) -> ConfigForm:
    """Return the form of a stored configuration; of the template if it is None."""
    if template is None:
        return ConfigForm(None)
    base = template if stored is None else stored
    if _is_flat(template) and isinstance(base, dict):
        values = {key: base.get(key, default) for key, default in template.items()}
        if _is_flat(values):
            shown = _masked(values)
            return ConfigForm({key: (shown[key], is_secret(key) or shown[key] == MASK) for key in values})
    return ConfigForm(None, pformat(_masked(base), sort_dicts=False))


def configuration_of(template: Any, stored: Any, given: Mapping[str, str] | str) -> Any:
    """Return the configuration that a form means, or raise ValueError. Empty secret fields, and MASK, keep what is stored."""
    base = template if stored is None else stored
    if isinstance(given, str):
        value = _literal(given)
        if type(value) is not type(template):
            expected, found = f"{type(template).__name__} such as {template!r}", type(value).__name__
            raise ValueError(f"The given configuration looks fishy: it must be a {expected}, not a {found}")
        return _restored(value, base, "the configuration")
    fields = form_of(template, stored).fields
    if fields is None or not given.keys() <= fields.keys():
        raise ValueError("its keys have changed meanwhile; load the page again")
    kept = {key for key, (_, is_one) in fields.items() if key not in given or (is_one and given[key] in ("", MASK))}
    read = {key: _read(key, text, template[key]) for key, text in given.items() if key not in kept}
    return {**template, **base, **read}


def _literal(text: str) -> Any:
    problem = f"it has more than {_LONGEST} characters" if len(text) > _LONGEST else ""
    try:
        value = None if problem else ast.literal_eval(text)
        # Python refuses to show numbers with too many digits.
        repr(value)
    except (MemoryError, RecursionError):
        problem = "it is nested too deeply"
    except (SyntaxError, TypeError, ValueError) as error:
        # Python's message about values that aren't literals describes its syntax tree.
        is_tree = isinstance(error, ValueError) and "digits" not in str(error)
        problem = "expected a Python literal such as {'TOKEN': 'abc', 'ROOMS': ['#a']}" if is_tree else str(error)
    if not problem:
        return value
    raise ValueError(f"Syntax error in the given configuration: {problem}")


def _is_flat(value: Any) -> bool:
    # Browsers remove line breaks from fields.
    return isinstance(value, dict) and all(
        isinstance(key, str) and type(one) in (str, int, float, bool) and len(str(one).splitlines()) < 2
        for key, one in value.items()
    )


def _read(key: str, text: str, default: object) -> object:
    if isinstance(default, bool):
        return text.lower() in ("true", "1", "on", "yes")
    try:
        return type(default)(text)  # type: ignore[call-arg]
    except ValueError:
        raise ValueError(f"{key} must be a number such as {default}, not {text!r}") from None


def _masked(value: Any, secret: bool = False) -> Any:
    """Return a copy with MASK in place of each secret, by the name of its key or since it is known."""
    if isinstance(value, Mapping):
        return {key: _masked(one, secret or is_secret(str(key))) for key, one in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        items = [_masked(one, secret) for one in value]
        return type(value)(items) if type(value) in (tuple, set, frozenset) else items
    if isinstance(value, bool) or not value:
        return value
    return MASK if secret or (isinstance(value, str) and masker(value) != value) else value


def _restored(value: Any, base: Any, where: str, secret: bool = False) -> Any:
    """Return the value with the secrets of `base` for MASK; in a list, only for unchanged items, since others may have moved."""
    if base is not _MISSING and repr(_masked(base, secret)) == repr(value):
        return base
    if isinstance(value, dict):
        known = base if isinstance(base, Mapping) else {}
        return {
            key: _restored(one, known.get(key, _MISSING), f"{where}[{key!r}]", secret or is_secret(str(key)))
            for key, one in value.items()
        }
    if isinstance(value, (list, tuple)):
        return type(value)(_items(value, base if isinstance(base, (list, tuple)) else (), where, secret))
    if MASK in repr(value):
        raise ValueError(f"{where} has {MASK}, and it isn't known for which secret; write it")
    return value


def _items(items: Sequence[Any], base: Sequence[Any], where: str, secret: bool) -> Iterator[Any]:
    shown = [repr(_masked(one, secret)) for one in base]
    given = [repr(one) for one in items]
    is_longer = given[: len(shown)] == shown
    for index, text in enumerate(given):
        found = index if is_longer and index < len(shown) else shown.index(text) if shown.count(text) == 1 else -1
        yield base[found] if found >= 0 else _restored(items[index], _MISSING, f"{where}[{index}]", secret)
