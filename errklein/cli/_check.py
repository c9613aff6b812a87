"""The commands that check without a start: `errklein check` the configuration and the plugins, `errklein network` the networks."""

from __future__ import annotations

import argparse
import re
import sys
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from werkzeug.routing import Map, Rule

from errklein import journal, storage
from errklein.cli._parser import print_lines
from errklein.commands import CommandDeclaration, CommandRegistry, documentation, is_admin_by_default, with_prefix
from errklein.compat.plugin_manager import BotPluginManager
from errklein.compat.storages import database_of, make_storage, shelves_to_import
from errklein.config import Config, ConfigError, SecretError, located_errors, read_secrets
from errklein.config.networks import CommandText, NetworkFinding, known_networks, network_of
from errklein.config.review import configuration_warnings, placeholders, places_of
from errklein.core_plugins import CorePlugin
from errklein.database import Access, upgrade_of
from errklein.logs import escape
from errklein.networks.context import NetworkContext
from errklein.plugins import BotPlugin
from errklein.plugins.botplugin import build_flows
from errklein.plugins.discovery import directory_warnings, settings_read, unknown_names, unknown_webhooks
from errklein.plugins.methods import check_methods, handlers_once_active
from errklein.plugins.packages import PackageDirectory
from errklein.plugins.plugin import PluginProblem, State
from errklein.running import Placement, explain_placement
from errklein.running.reactors import install_asyncio_reactor
from errklein.service import DataDirectory, Listening, errors_end_program, load_with_options
from errklein.service.startup_checks import START_ERRORS, check_config, check_log_file, check_network, network_warnings
from errklein.sources import find_source
from errklein.text import to_plain
from errklein.text.suggestions import did_you_mean
from errklein.webhooks import Hook, HookDeclaration
from errklein.webhooks.option_values import HookError
from errklein.webhooks.options import room_webhooks
from errklein.wiring import other_networks, wire

if TYPE_CHECKING:
    # Its imports fail in a damaged environment, which is reported first.
    from errklein.compat.bot import ErrbotBot

_PLACES = {Placement.REACTOR: "on the reactor", Placement.THREAD: "in a thread"}
_USABLE = "can be activated"

_STATES = {
    State.ACTIVE: "active",
    State.INACTIVE: _USABLE,
    State.BLACKLISTED: "blacklisted",
    State.UNCONFIGURED: f"{_USABLE}, not configured",
    State.BROKEN: "broken",
}


def check(known: argparse.Namespace, found_before: int = 0) -> NoReturn:
    """Print each plugin with its state, commands and webhooks, then problems and warnings. No plugin is activated.
    Raises SystemExit, with status 1 if there is a problem; `found_before` of them were printed already."""
    # The reactor must be chosen before anything imports it.
    install_asyncio_reactor()
    with errors_end_program():
        config = load_with_options(known.config, data_dir=known.data_dir, plugin_dirs=known.plugin_dir)
        check_config(config)
        with located_errors(config):
            Listening(config).check()
        data = DataDirectory(Path(config.BOT_DATA_DIR))
        (data.check_access if data.is_own() else data.check_readable)()
        if config.BOT_LOG_FILE:
            check_log_file(config.BOT_LOG_FILE, "BOT_LOG_FILE", data)
    from twisted.internet.task import react

    async def checked(reactor: Any) -> None:
        # The database may be damaged, locked, or owned by another user.
        with errors_end_program():
            await _check(reactor, config, known, found_before)

    react(checked)


async def _check(reactor: Any, config: Config, known: argparse.Namespace, found_before: int) -> None:
    databases = [(database_of(config), storage.MIGRATIONS)] if config.STORAGE == "Shelf" else []
    if config.STORAGE != "Memory":
        databases.append((Path(config.BOT_DATA_DIR) / journal.DATABASE, journal.MIGRATIONS))
    try:
        upgrades = [*filter(None, (upgrade_of(path, steps) for path, steps in databases))]
        bot = unstarted_bot(reactor, config)
    except Exception as error:
        if not found_before:
            raise
        raise SystemExit(f"errklein: no further checks were possible: {type(error).__name__}: {error}") from error
    configure, manager = bot.web.routes.configure, bot.plugin_manager
    found_now = await manager.load(bot.plugin_roots)
    problems = [problem for problem in found_now if not problem.is_warning]
    problems += map(PluginProblem, PackageDirectory(Path(config.BOT_DATA_DIR)).problems())
    lines = [f"{places_of(config)}: {', '.join(config.networks)}", *upgrades, ""]
    unimported = shelves_to_import(config, bot.storage, known.data_dir)
    problems += [PluginProblem(unimported)] if unimported is not None else []
    found = [(plugin.name, plugin.instance) for plugin in manager.found]
    names = {name for name, _ in found}
    instances = [instance for _, instance in found if instance is not None]
    hooks = [hook for instance in instances for hook in configured_hooks(instance, configure)]
    problems += map(PluginProblem, placeholders(config))
    problems += [PluginProblem(text, plugin) for plugin, text in unknown_webhooks(config, found)]
    of_rooms = room_webhooks(config.setting("WEBHOOKS"), find_source)
    await bot.room_webhooks.load(of_rooms, in_service=False)
    problems += secret_problems(hooks)
    unusable = sorted(bot.web.services.checks.unusable.items())
    problems += [PluginProblem(f"{name} responds with 503 to all requests: {reason}") for name, reason in unusable]
    place = config.path or "a config.py"
    problems += [
        PluginProblem(f"WEBHOOKS[{name!r}]: template: there is no file {one.template} beside {place}")
        for name, one in of_rooms.items()
        if one.template and not (config.path and (config.path.parent / one.template).is_file())
    ]
    mistakes = [
        PluginProblem(str(mistake), instance.name, is_warning=not mistake.is_error)
        for instance in instances
        for mistake in check_methods(instance)
    ]
    problems += [mistake for mistake in mistakes if not mistake.is_warning]
    flows: list[str] = []
    for name, collection in sorted(manager.flows.items()):
        flows.append(f"{name}: flows")
        try:
            flows += [f"    {config.BOT_PREFIX}flows start {flow.name}" for flow in build_flows(collection)]
        except ValueError as error:
            problems.append(PluginProblem(str(error)))
    with_problem = {problem.plugin for problem in problems}
    lines += [*_plugins(bot, with_problem, verbose=known.verbose), *flows]
    declarations = bot.web.routes.declarations()
    lines += [
        f"{name}: webhook of {one.room}\n    POST {declarations[name].rule}: {one.source}, {declarations[name].summary}"
        for name, one in of_rooms.items()
    ]
    lines += ["", *(line for problem in problems for line in _problem_lines(problem))] if problems else []
    doubtful = [problem.text for problem in (*found_now, *mistakes) if problem.is_warning]
    of_settings = (
        *directory_warnings(config),
        *configuration_warnings(config, partial(settings_read, found)),
        *network_warnings(config),
        *unknown_names(config, found),
        *webhook_warnings(instances, configure),
        *_prefix_warnings(hooks, config.WEBHOOK_PREFIX),
        *(f"WEBHOOKS[{name!r}]: a plugin has this name, too; choose another one" for name in of_rooms if name in names),
    )
    warnings = (*clashes(manager), *of_settings, *doubtful)
    lines += ["", *(f"warning: {escape(warning)}" for warning in warnings)] if warnings else []
    count = found_before + len(problems)
    lines += ["", f"Found {_counted(count, 'problem')} and {_counted(len(warnings), 'warning')}."]
    sys.stdout.write("\n".join(lines) + "\n")
    bot.storage.close()
    if count or (known.strict and warnings):
        raise SystemExit(1)


def unstarted_bot(reactor: Any, config: Config) -> ErrbotBot:
    """Return a bot for commands. No requirement is installed, and no file is changed beside a bot that runs."""
    config.AUTOINSTALL_DEPS = False
    _, make_bot = wire(reactor, config, values=Access.COPY)
    return make_bot()


def _plugins(bot: ErrbotBot, with_problem: Collection[str], *, verbose: bool) -> Iterator[str]:
    """Yield the lines about plugins: core plugins last, and only if they have a problem or `verbose` is true."""
    hidden = 0
    for plugin in sorted(bot.plugin_manager.found, key=lambda plugin: isinstance(plugin.instance, CorePlugin)):
        state = _STATES[bot.plugin_manager.state(plugin)]
        if state.startswith(_USABLE) and plugin.name in with_problem:
            state = "has a problem, see below"
        if isinstance(plugin.instance, CorePlugin) and state.startswith(_USABLE) and not verbose:
            hidden += 1
            continue
        yield f"{plugin.name}: {state}"
        if plugin.instance is not None:
            described = describe(plugin.instance, bot.bot_config.BOT_PREFIX, bot.web.routes.configure)
            yield from (f"    {escape(line)}" for line in described)
    if hidden:
        yield f"and {_counted(hidden, 'core plugin')}, which -v shows"


def _problem_lines(problem: PluginProblem) -> Iterator[str]:
    yield f"problem: {escape(problem.text)}"
    yield from map(escape, problem.source.splitlines())


def _counted(count: int, noun: str) -> str:
    return f"{count or 'no'} {noun}{'' if count == 1 else 's'}"


def clashes(manager: BotPluginManager, registry: CommandRegistry | None = None) -> Iterator[str]:
    """Add the commands to a registry, and yield a warning for each that gets another name, since two plugins have one of the same name."""
    registry = registry or CommandRegistry()
    for name in manager.get_plugins_activation_order():
        instance = manager.get_plugin_obj_by_name(name)
        if instance is not None and not manager.is_blacklisted(name):
            yield from registry.add(name, [handler for _, handler in handlers_once_active(instance)])


def describe(plugin: BotPlugin, prefix: str, configure: Callable[[Hook], Hook] = lambda hook: hook) -> Iterator[str]:
    """Yield a line for each command, filter and route of the plugin: the method, where it runs, and why."""
    hooks = {hook.name: hook.declaration for hook in configured_hooks(plugin, configure)}
    for name, handler in handlers_once_active(plugin):
        decided = explain_placement(handler)
        where = f"{_PLACES[decided.placement]} ({decided.reason})"
        command, hook = CommandDeclaration.of(handler), hooks.get(name)
        if command is not None:
            admin = ", for administrators" if command.admin_only or is_admin_by_default(handler) else ""
            begin = prefix if command.prefixed else ""
            given = command.name.replace("_", " ") if command.pattern is None else command.pattern.pattern
            yield f"{begin}{given}{admin}: {name}, {where}"
        if getattr(handler, "_err_command_filter", False):
            yield f"filter of commands: {name}, {where}"
        if hook is not None:
            yield f"{', '.join(hook.methods)} {hook.rule}: {name}, {where}, {hook.summary}"


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
    for hook in hooks:
        try:
            read_secrets(hook.declaration.verify)
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
            is_meant = declared.methods_given or declared.verify or isinstance(plugin, CorePlugin)
            if "GET" in declared.methods and not is_meant:
                by_links.append(hook.full_name)
    if by_links:
        yield (
            f"the preview of a posted link calls these webhooks, since they accept GET by default: {', '.join(by_links)}; "
            "set WEBHOOK_METHODS = ('POST',), or the methods of each webhook"
        )


def _prefix_warnings(hooks: Iterable[Hook], prefix: str) -> Iterator[str]:
    """Yield a warning for each webhook of a plugin that may get requests for webhooks of rooms, since it goes first."""
    for hook in hooks:
        rule = hook.declaration.rule
        # An invalid rule is a problem already.
        with suppress(LookupError, ValueError):
            matcher = Map([Rule(rule, endpoint="")]).bind("")
            is_below = rule.startswith(f"{prefix}/")
            if is_below or any(matcher.test(f"{prefix}{path}") for path in ("/name", "/name/token")):
                yield (
                    f"{hook.full_name}: its path {rule} is below {prefix}, so it gets requests for webhooks of rooms first; "
                    "change the path, or set WEBHOOK_PREFIX to another one"
                )


def list_networks(config_file: str | None) -> int:
    """Print the configured networks, those that are available, and the packages of others. Return the exit status."""
    with errors_end_program():
        config = load_with_options(config_file)
    found = {plug.name: str(plug.path) for plug in other_networks().network_plugs(config)}
    own = {network.name: network.description for network in known_networks()}
    available = own | dict(sorted(found.items()))
    sections = {
        "configured": {network: view.BACKEND for network, view in config.networks.items()},
        "available": available,
        "not installed; run in errklein's virtualenv": {
            x: f"pip install {y}" for x, y in other_networks().PACKAGES.items() if x not in available
        },
    }
    for title, lines in sections.items():
        width = max(map(len, lines), default=0) + 2
        print_lines([f"{title}:", *(f"  {name.ljust(width)}{text}" for name, text in lines.items())])
    return 0


def check_networks(known: argparse.Namespace) -> NoReturn:
    """Check the network of that name, or all, or push the commands to it. Raise SystemExit, with status 1 if one can't be used."""
    # The reactor must be chosen before anything imports it.
    install_asyncio_reactor()
    pushes, name = known.what == "push-commands", known.name
    with errors_end_program():
        directories = known.plugin_dir if pushes else ()
        config = load_with_options(known.config, data_dir=known.data_dir, plugin_dirs=directories)
    views = {network: view for network, view in config.networks.items() if name in (None, network, view.BACKEND)}
    if not views:
        meant = did_you_mean(name or "", config.networks) or "."
        configured = ", ".join(config.networks)
        raise SystemExit(f"errklein: unknown network {name!r}{meant} Configured networks: {configured}")
    from twisted.internet.task import deferLater, react

    from errklein.networks.errors import NotConfirmed, RequestRefused, RetryLater

    async def check(reactor: Any) -> None:
        # Before the reactor runs, no thread is its own.
        await deferLater(reactor, 0)
        status = 0
        for network, view in views.items():
            try:
                with located_errors(config, view):
                    check_network(view)
                find = (
                    _push_commands(reactor, config, view, known.dry_run) if pushes else _check_connection(reactor, view)
                )
                for finding in await find:
                    # Further lines, such as those of a manifest, are to be copied.
                    print_lines(f"{'problem: ' * finding.is_problem}{network}: {finding.text}".split("\n"))
                    status = status or int(finding.is_problem)
            except (*START_ERRORS, ConnectionError, NotConfirmed, RequestRefused, RetryLater) as error:
                print_lines([f"problem: {network}: {error}"])
                status = 1
        raise SystemExit(status)

    react(check)


async def _check_connection(reactor: Any, view: Config) -> Sequence[NetworkFinding]:
    """Return what is known of a network that the bot can use; raise ConfigError or ConnectionError with the reason if it can't."""
    if (network := network_of(view)) is None:
        path = other_networks().find_network(view).path
        return [NetworkFinding(f"{path} is installed; only a start of the bot shows whether it connects")]
    if network.needs_terminal and not sys.stdin.isatty():
        raise ConnectionError(f"{network.name} needs a terminal, and standard input isn't one")
    if network.check is None:
        untried = "the settings are valid; only a start of the bot shows whether it connects"
        return [NetworkFinding(f"nothing to connect to: {network.description}" if network.is_local else untried)]
    is_running = DataDirectory(Path(view.BOT_DATA_DIR)).is_used()
    return await network.check(NetworkContext(reactor, view, is_running=is_running))


async def _push_commands(reactor: Any, config: Config, view: Config, dry: bool) -> Sequence[NetworkFinding]:
    """Push the commands of the plugins, without those of the core for administrators, as a start of the bot would register them."""
    if (network := network_of(view)) is None or (push := network.push_commands) is None:
        raise ConfigError(f"{view.BACKEND} has no list of a bot's commands")
    bot = unstarted_bot(reactor, config)
    problems = [one.text for one in await bot.plugin_manager.load(bot.plugin_roots) if not one.is_warning]
    if problems:
        raise ConfigError("\n".join(["a plugin can't be loaded, so its commands aren't known:", *problems]))
    registry, texts = CommandRegistry(), []
    deque(clashes(bot.plugin_manager, registry), 0)
    bot.storage.close()
    for command in sorted(registry, key=lambda command: command.name):
        declared, is_restricted = command.declaration, command.core or view.HIDE_RESTRICTED_COMMANDS
        is_hidden = declared.hidden or declared.flow_only or (is_restricted and command.needs_admin)
        is_hidden = is_hidden or command.owner == "TextCmds"  # active only on the terminal
        if declared.pattern is None and not is_hidden:
            # The docstring of a command with declared arguments begins with its usage.
            parser = getattr(command.handler, "_err_command_parser", None)
            text = documentation(command.handler) if parser is None else parser.description
            paragraph = to_plain(with_prefix(text or "", view.BOT_PREFIX).strip().partition("\n\n")[0], indented=False)
            sentence = re.split(r"(?<=[.!?])\s", " ".join(paragraph.split()), maxsplit=1)[0]
            texts.append(CommandText(command.name, sentence, " ".join((declared.syntax or "").split())))
    # What was pushed is remembered in the data of the bot, which may run.
    with closing(make_storage(config, Access.COPY if dry else Access.SHARE)) as stored:
        context = NetworkContext(reactor, view, storage=stored)
        return [*map(NetworkFinding, await push(context, texts, dry) or ["nothing has changed"])]
