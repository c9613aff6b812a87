"""The twistd plugin: the options of `twistd errklein`, and the service that runs the bot. Modules that import the
reactor are imported late, since the user chooses the reactor."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import MutableMapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from twisted.python import usage

from errklein import service
from errklein._version import __version__
from errklein.config import ConfigError, located_errors, take_variables
from errklein.plugins.packages import environment_problems
from errklein.ports.nodes import INTAKE, ROLES
from errklein.running.reactors import install_asyncio_reactor
from errklein.service import startup_checks
from errklein.service.process_exit import remove_stale_pid_file
from errklein.wiring import wire

if TYPE_CHECKING:
    from twisted.application.service import IService

    from errklein.bot import Bot
    from errklein.listening.side_server import SideServer
    from errklein.service.reloading import ReloadingBot


_NETWORK = "Use only this network: a name in NETWORKS, or IRC, Text, Test, Null or another BACKEND."
_ROLE = "Do only this part of the work, in a bot of several processes on one database: intake, worker or chat, or several with commas between."
_NODE = "Answer requests that other processes of the bot pass on, on this Twisted endpoint, which only they must reach."
_PROCESSES = "Run a process for the chat and this number of others for webhooks, which share the ports of --web or WEB, and start each again when it ends. Requires ERRKLEIN_DATABASE."
_STATUS = "Serve /health, /ready and /metrics on this Twisted endpoint, which must not be public. Replaces STATUS."


class Options(usage.Options):
    """The options of `twistd errklein`, which are also those of `errklein run`."""

    synopsis = "[options]"
    longdesc = "Runs a chat bot with commands, webhooks and errbot's plugins."

    optParameters: ClassVar = [
        ["config", "c", None, "The configuration (default: ./config.py, or the built-in defaults)."],
        ["network", "n", None, _NETWORK],
        ["data-dir", "d", None, "The data directory (default: BOT_DATA_DIR)."],
        ["status", None, None, _STATUS],
        ["role", None, None, _ROLE],
        ["node", None, None, _NODE],
        ["processes", None, None, _PROCESSES],
        ["console", None, None, "Serve the console for administrators on this Twisted endpoint. Replaces CONSOLE."],
    ]
    optFlags: ClassVar = [
        ["watch", None, "Reload plugins when their files change; load added and remove deleted plugins."],
        ["no-import", None, "Start without the values that errbot has stored in the data directory."],
    ]

    def __init__(self) -> None:
        usage.Options.__init__(self)
        self["web"] = []
        self["plugin-dir"] = []

    def opt_web(self, endpoint: str) -> None:
        """Receive webhooks on this Twisted endpoint, such as tcp:3141:interface=127.0.0.1; may be given several times. Replaces WEB."""
        self["web"].append(endpoint)

    opt_w = opt_web

    def opt_plugin_dir(self, directory: str) -> None:
        """Load plugins from this directory, too; may be given several times."""
        self["plugin-dir"].append(directory)

    opt_p = opt_plugin_dir

    def opt_version(self) -> None:
        """Print the version of errklein and exit."""
        sys.stdout.write(f"errklein {__version__}\n")
        sys.exit(0)

    def parseArgs(self, *arguments: str) -> None:
        """Reject arguments that aren't options. Called by Twisted."""
        if arguments:
            raise usage.UsageError(f"unexpected argument {arguments[0]!r}")

    def check(self) -> None:
        """Raise UsageError for an invalid value of --role or --processes."""
        roles = ROLES if self["role"] is None else [one.strip() for one in self["role"].split(",")]
        if not set(roles) <= {*ROLES}:
            raise usage.UsageError(
                f"--role: expected {', '.join(ROLES)}, or several with commas between, not {self['role']!r}"
            )
        self["roles"] = tuple(role for role in ROLES if role in roles)
        number = self["processes"]
        if number is not None and (not number.isdecimal() or int(number) < 1):
            raise usage.UsageError("--processes: expected a number from 1")
        if number is not None and self["role"] is not None:
            raise usage.UsageError("--role and --processes exclude each other")

    def postOptions(self) -> None:
        """Select errklein's reactor and log, unless options of twistd select others, and check the pid file. Called by Twisted."""
        self.check()
        install_asyncio_reactor()
        parent = self.launcher
        if "logger" in parent and parent["logger"] is None and not parent.get("syslog"):
            parent["logger"] = "errklein.logs.observer"
        if parent.get("pidfile"):
            remove_stale_pid_file(Path(parent["pidfile"]))

    def of_each(self) -> list[str]:
        """Return the options for each of several processes: those that were given, without what concerns their number."""
        valued = ("config", "network", "data-dir", "status", "console")
        given = [(name, self[name]) for name in valued if self[name] is not None]
        given += [(name, value) for name in ("web", "plugin-dir") for value in self[name]]
        flags = [f"--{name}" for name in ("watch", "no-import") if self[name]]
        return [*(part for name, value in given for part in (f"--{name}", value)), *flags]

    @property
    def launcher(self) -> MutableMapping[str, Any]:
        """The options of twistd, by name; empty without it."""
        parent: Any = self.parent
        return {} if parent is None else parent


def makeService(options: Options) -> IService:
    """Return the service that runs the bot. Called by twistd. Raises SystemExit with what prevents a start."""
    try:
        with service.errors_end_program():
            return _make_service(options)
    except Exception as error:
        # In a damaged environment, the missing requirements explain more than the exception.
        if problems := environment_problems():
            raise SystemExit(f"errklein: {'; '.join(problems)}") from error
        raise


def _make_service(options: Options) -> IService:
    # Enabled again when the service has started; see configure_garbage_collector.
    gc.disable()
    from twisted.internet import reactor

    from errklein.compat.storages import check_shelves, settle_shelves
    from errklein.service.control import ControlSocket
    from errklein.service.process_exit import ProcessExit
    from errklein.service.reloading import ReloadingBot

    twistd = startup_checks.TwistdOptions.of(options.launcher)
    if twistd.directory == ".":
        # twistd changes to it.
        startup_checks.check_current_directory()
    given = options["config"], options["network"], options["data-dir"], options["plugin-dir"]
    # Before config.py runs and plugins are loaded.
    variables = take_variables(os.environ)
    config = service.load_with_options(*given, variables)
    roles = options["roles"]
    for name in ("role", "node", "processes"):
        if options[name] and config.ERRKLEIN_DATABASE is None:
            raise ConfigError(
                f"--{name} {options[name]}: a bot on SQLite is one process, which does everything; leave out --{name}, "
                "or set ERRKLEIN_DATABASE"
            )
    listening = service.Listening(config, options["web"], options["status"], options["console"], options["node"])
    data_source = "BOT_DATA_DIR" if options["data-dir"] is None else "--data-dir"
    data = service.DataDirectory(Path(config.BOT_DATA_DIR), data_source, config.ERRKLEIN_DATABASE is not None)
    startup_checks.check_start(config, twistd, data, listening)
    if not options["no-import"]:
        # The service checks this again, but a daemon shows only 100 bytes of its errors.
        check_shelves(config, options["data-dir"])
    with located_errors(config):
        startup_checks.set_up_log(config, twistd, data)
    if options["processes"]:
        from errklein.service.processes import Processes, open_sockets

        environment = {**os.environ, **variables}
        of_each, grace, node = options.of_each(), config.GRACE_PERIOD, listening.node
        sockets = open_sockets(listening.web)
        return Processes(reactor, int(options["processes"]), of_each, sockets, environment, grace, node)
    # A config.py that is missing later is an error.
    config_path = options["config"] or ("config.py" if config.path else None)
    later = [options["web"], options["status"], options["console"], config_path, *given[1:]]
    check = startup_checks.check_in_process(later)
    process_exit = ProcessExit(reactor, twistd.pid_file, check, variables)
    web, make_bot = wire(
        reactor,
        config,
        check_stored=lambda storage: settle_shelves(config, storage, options["data-dir"], bool(options["no-import"])),
        restart=process_exit.request_restart,
        read_config=partial(startup_checks.load_checked, Path.cwd(), *later, variables),
        roles=roles,
        node=listening.node,
    )

    web_endpoints = listening.web if INTAKE in roles else ()
    web.listeners.note_others(listening.node, [] if web_endpoints else listening.web)
    beside: list[SideServer] = []
    if listening.status is not None:
        from errklein.status import StatusServer

        beside.append(StatusServer(reactor, listening.status, web_endpoints))
    if listening.console is not None:
        from errklein.console import ConsoleServer

        beside.append(ConsoleServer(reactor, listening.console, config.CONSOLE_URL, config.TRUSTED_PROXIES))

    bot: Bot

    def make_managed_bot() -> Bot | ReloadingBot:
        nonlocal bot
        startup_checks.start_sentry(config)
        bot = make_bot()
        if not bot.alone:
            # Before events are handled that have arrived meanwhile.
            signal.signal(signal.SIGCONT, lambda *_: bot.check_ownership())
        for server in beside:
            server.watch(bot)
        startup_checks.warn_of_problems(bot)
        reactor.callWhenRunning(ControlSocket(reactor, data, bot.core_host, bot.core_host.elsewhere).open)
        return ReloadingBot(bot, reactor) if options["watch"] else bot

    grace = config.GRACE_PERIOD
    deadline = service.reactor_deadline(config.REACTOR_DEADLINE, grace, os.environ)

    def notify(*notice: Any, **options: Any) -> None:
        # The bot is made later.
        bot.notices.post(*notice, **options)

    supervision = service.Supervision(reactor, web.lag, data.path, grace, deadline, notify)
    parts = reactor, process_exit, data, web.listeners, make_managed_bot, supervision
    endpoints = [*web_endpoints, *([listening.node] if listening.node else ())]
    return service.BotService(*parts, endpoints, grace, twistd.daemon, beside)
