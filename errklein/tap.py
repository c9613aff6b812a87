"""`twistd errklein`: reads the command line and the configuration, and puts the bot together. Nothing is decided here.

Modules that import the reactor are imported late: which reactor it is, is the user's choice.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from twisted.python import usage

from errklein import logs
from errklein.config import Config, ConfigError, load_config
from errklein.config.settings import BACKEND_NAMES
from errklein.logs.records import FormattedByLogging
from errklein.plugins.environment import damages
from errklein.running.reactors import install_asyncio_reactor
from errklein.service.data_directory import DataDirectory, DataDirectoryError, acting_as
from errklein.storage import StorageError
from errklein.wiring import wire

if TYPE_CHECKING:
    from twisted.application.service import IService

    from errklein.bot import Bot
    from errklein.service import Launch, Startable

DEFAULT_ENDPOINT = "tcp:3141:interface=127.0.0.1"
"""Where a bot without any configuration listens."""


class Options(usage.Options):
    """The command line of `twistd errklein`."""

    synopsis = "[options]"
    longdesc = "A chat bot with commands and webhooks that runs errbot's plugins."

    optParameters: ClassVar = [
        ["config", "c", None, "The config.py, as errbot's; ./config.py if it is there."],
        ["backend", "b", None, "The chat network, instead of the configuration's: IRC, Text, Test or Null."],
        ["data-dir", "d", None, "Where data is kept, instead of the configuration's BOT_DATA_DIR."],
    ]
    optFlags: ClassVar = [
        ["reload", None, "Reload a plugin when one of its files changes."],
        ["no-import", None, "Start although errbot's values in the data directory were not imported."],
    ]
    compData = usage.Completions(
        optActions={"config": usage.CompleteFiles("*.py"), "data-dir": usage.CompleteDirs()},
        multiUse=["web", "plugin-dir"],
    )

    def __init__(self) -> None:
        usage.Options.__init__(self)
        self["web"] = []
        self["plugin-dir"] = []

    def opt_web(self, endpoint: str) -> None:
        """Answer webhooks on this endpoint, such as tcp:3141:interface=127.0.0.1; may be given several times."""
        self["web"].append(endpoint)

    opt_w = opt_web

    def opt_plugin_dir(self, directory: str) -> None:
        """Look for plugins here as well; may be given several times."""
        self["plugin-dir"].append(directory)

    opt_p = opt_plugin_dir

    def postOptions(self) -> None:
        """Choose the reactor and the log, unless the user has."""
        install_asyncio_reactor()
        parent = self.launcher
        if "logger" in parent and parent["logger"] is None and not parent.get("syslog"):
            parent["logger"] = logs.OBSERVER

    @property
    def launcher(self) -> MutableMapping[str, Any]:
        """The options of twistd or twist; without either, none."""
        parent: Any = self.parent
        return {} if parent is None else parent

    @property
    def config_file(self) -> Path | None:
        """The configuration that is meant; None if there is none."""
        if self["config"] is not None:
            return Path(self["config"])
        return Path("config.py") if Path("config.py").is_file() else None

    def load(self) -> Config:
        """The configuration, with what the command line says about it; raises ConfigError."""
        overrides = {"BACKEND": self["backend"], "BOT_DATA_DIR": self["data-dir"]}
        given = {name: value for name, value in overrides.items() if value is not None}
        return load_config(self.config_file, given, plugin_dirs=self["plugin-dir"])


def makeService(options: Options) -> IService:
    """The bot that the options describe, to be started by twistd.

    Raises SystemExit with one line for whatever is known to be wrong before anything starts.
    """
    try:
        return _make_service(options)
    except (ConfigError, DataDirectoryError, StorageError) as error:
        raise SystemExit(f"errklein: {error}") from None
    except Exception as error:
        # In a damaged environment, the damage is reported and not the line that failed because of it.
        if damaged := damages():
            raise SystemExit(f"errklein: {'; '.join(damaged)}") from error
        raise


def _make_service(options: Options) -> IService:
    # What is imported now stays. Garbage is collected once the service has started; see service.settle_memory.
    gc.disable()
    from twisted.internet import reactor

    from errklein.compat.storages import check_shelves, check_storage, settle_shelves
    from errklein.service import BotService
    from errklein.service.reloading import Reloading
    from errklein.service.sentry import check_sentry, start_sentry
    from errklein.service.stopping import Relaunch

    launch = launch_of(options.launcher)
    config = options.load()
    built_in = options.config_file is None
    endpoints = options["web"] or ([DEFAULT_ENDPOINT] if built_in else [])
    check_text_backend(config, launch)
    uid, gid = options.launcher.get("uid"), options.launcher.get("gid")
    data_directory = DataDirectory(Path(config.BOT_DATA_DIR), uid, gid)
    if not options.launcher.get("chroot"):
        check_networks(config)
        check_storage(config)
        check_sentry(config)
        data_directory.check()
        if not options["no-import"]:
            # The service checks this again, but the parent of a daemon shows only 100 bytes of its error.
            with acting_as(uid, gid):
                check_shelves(config, options["data-dir"])
        check_endpoints(endpoints)
    choose_log(options.launcher, config, data_directory, launch)
    relaunch = Relaunch(reactor, launch.pid_file, why_no_restart(options.launcher, endpoints))
    web, make_bot = wire(
        reactor,
        config,
        check_stored=lambda storage: settle_shelves(config, storage, options["data-dir"], bool(options["no-import"])),
        restart=relaunch.request,
    )

    def make_startable() -> Startable:
        start_sentry(config)
        bot = make_bot()
        warn_of_damages(bot)
        return Reloading(bot, reactor) if options["reload"] else bot

    return BotService(
        reactor,
        data_directory=data_directory,
        listeners=web.listeners,
        endpoints=endpoints,
        make_bot=make_startable,
        grace=config.GRACE_PERIOD,
        launch=launch,
        reopen_log=logs.destinations.reopen,
        relaunch=relaunch,
    )


def warn_of_damages(bot: Bot) -> None:
    """Warn administrators of each requirement of errklein that isn't fulfilled; the check runs in a thread."""

    def warn(damaged: list[str]) -> None:
        for line in damaged:
            bot.tell_admins(line)

    looking = bot.plugin_pool.run(lambda: damages).addCallback(warn)
    looking.addErrback(lambda failure: bot.log.failure("errklein's environment can't be checked", failure))


def launch_of(launcher: Mapping[str, Any]) -> Launch:
    """How twistd or twist, whose options these are, runs the service."""
    from errklein.service import Launch

    daemon = "nodaemon" in launcher and not launcher["nodaemon"] and not launcher["debug"]
    pid_file = launcher.get("pidfile")
    return Launch(daemon, Path(pid_file).absolute() if pid_file else None)


def why_no_restart(launcher: Mapping[str, Any], endpoints: Sequence[str]) -> str:
    """Why the process can't be replaced by another with the same command line; "" if it can."""
    if any(launcher.get(option) for option in ("uid", "gid", "chroot")):
        return "root started errklein for another user, and has to do it again"
    if any(endpoint.startswith("systemd:") for endpoint in endpoints):
        return "systemd has opened its sockets, and has to start it again: systemctl restart"
    return ""


def check_text_backend(config: Config, launch: Launch) -> None:
    """Raise ConfigError if a conversation is wanted of a daemon."""
    for view in config.networks.values():
        if view.BACKEND == "Text" and launch.daemon:
            raise ConfigError(
                "BACKEND: Text talks on the terminal, which a daemon doesn't have; "
                "expected another backend, or the foreground: twistd -n errklein"
            )


def check_networks(config: Config) -> None:
    """Raise ConfigError if a network isn't there, or the settings of an IRC network can't be used."""
    for view in config.networks.values():
        try:
            _check_network(view)
        except ConfigError as error:
            where = f"BACKENDS[{view.network!r}]: " if config.BACKENDS else ""
            raise ConfigError(f"{where}{error}") from None


def _check_network(view: Config) -> None:
    if view.BACKEND == "IRC":
        from errklein.backends.irc.connection import trusted
        from errklein.backends.irc.settings import IRCSettings

        trusted(IRCSettings.read(view))
    elif view.BACKEND not in BACKEND_NAMES.values():
        from errklein.compat.backends.finding import find_network

        find_network(view)


def check_endpoints(endpoints: Sequence[str]) -> None:
    """Raise ConfigError if one of the endpoints can't be listened on."""
    from errklein.service.endpoint_check import BadEndpoint, check_endpoint

    for endpoint in endpoints:
        try:
            check_endpoint(endpoint)
        except BadEndpoint as error:
            raise ConfigError(f"--web {error}") from None


def choose_log(launcher: MutableMapping[str, Any], config: Config, data: DataDirectory, launch: Launch) -> None:
    """Settle where the log goes, and have what plugins log come there; raises ConfigError for a file that can't be."""
    log = logs.destinations
    log.level = config.BOT_LOG_LEVEL
    log.theme = config.TEXT_COLOR_THEME
    log.format = FormattedByLogging(config.BOT_LOG_FORMATTER) if config.BOT_LOG_FORMATTER is not None else None
    log.places = logs.places(
        daemon=launch.daemon,
        chosen=launcher.get("logfile"),
        log_file=config.BOT_LOG_FILE,
        data_dir=config.BOT_DATA_DIR,
        text=any(view.BACKEND == "Text" for view in config.networks.values()),
        terminal=sys.stdin is not None and sys.stdin.isatty(),
    )
    log.owner = data.owner()
    for place in log.places:
        path = Path(place).absolute()
        if log.owner is not None and path.is_symlink():
            # Whoever the file belongs to afterwards could have root write to any other.
            raise ConfigError(
                f"the log file {path}: expected a file, not a link, while root starts errklein for another user"
            )
        if path.parent == data.path:
            log.prepare = data.prepare
        elif place not in {"-", "+"} and not os.access(path if path.exists() else path.parent, os.W_OK):
            setting = "BOT_LOG_FILE" if place == config.BOT_LOG_FILE else "--logfile"
            raise ConfigError(f"{setting}: {path}: expected a file that can be written to")
    # Whoever names a file for the bot in errbot's way rotates it in his own.
    log.rotated = config.BOT_LOG_FILE not in log.places
    logs.bridge_stdlib(config.BOT_LOG_LEVEL)
    if "logFile" in launcher:
        logs.use_with_twist(launcher)
