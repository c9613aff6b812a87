"""`twistd errklein`: the command line, and the service that runs the bot.

Modules that import the reactor are imported late, since the user chooses the reactor.
"""

from __future__ import annotations

import gc
from collections.abc import MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from twisted.python import usage

from errklein import logs
from errklein.config import Config
from errklein.plugins.environment import environment_problems
from errklein.running.reactors import install_asyncio_reactor
from errklein.service import BotService, DataDirectory, ServiceOptions, errors_end_program, load_with_options
from errklein.service.sentry import start_sentry
from errklein.service.startup_checks import check_start, warn_of_environment_problems
from errklein.service.twistd_options import TwistdOptions
from errklein.wiring import wire

if TYPE_CHECKING:
    from twisted.application.service import IService

    from errklein.service.bot_service import ManagedBot

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
            parent["logger"] = "errklein.logs.observer"

    @property
    def launcher(self) -> MutableMapping[str, Any]:
        """The options of twistd or twist; without either, none."""
        parent: Any = self.parent
        return {} if parent is None else parent

    def load(self) -> Config:
        """The configuration, with the overrides of the command line; raises ConfigError."""
        return load_with_options(self["config"], self["backend"], self["data-dir"], self["plugin-dir"])


def makeService(options: Options) -> IService:
    """The service for twistd that runs the bot which the options describe.

    Raises SystemExit with one line for any error that can be found before something starts.
    """
    try:
        with errors_end_program():
            return _make_service(options)
    except Exception as error:
        # In a damaged environment, the problems are reported and not the line that failed because of it.
        if problems := environment_problems():
            raise SystemExit(f"errklein: {'; '.join(problems)}") from error
        raise


def _make_service(options: Options) -> IService:
    # Collected once the service has started; see configure_garbage_collector.
    gc.disable()
    from twisted.internet import reactor

    from errklein.compat.storages import settle_shelves
    from errklein.service.log_setup import set_up_log
    from errklein.service.process_exit import ProcessExit
    from errklein.service.reloading import ReloadingBot

    twistd = TwistdOptions.of(options.launcher)
    config = options.load()
    endpoints = options["web"] or ([DEFAULT_ENDPOINT] if config.path is None else [])
    data_directory = DataDirectory(Path(config.BOT_DATA_DIR), twistd.uid, twistd.gid)
    check_start(config, twistd, data_directory, endpoints, options["data-dir"], no_import=bool(options["no-import"]))
    set_up_log(config, twistd, data_directory)
    if "logFile" in options.launcher:
        logs.use_with_twist(options.launcher)
    process_exit = ProcessExit(reactor, twistd.pid_file, twistd.why_no_restart())
    web, make_bot = wire(
        reactor,
        config,
        check_stored=lambda storage: settle_shelves(config, storage, options["data-dir"], bool(options["no-import"])),
        restart=process_exit.request_restart,
    )

    def make_managed_bot() -> ManagedBot:
        start_sentry(config)
        bot = make_bot()
        warn_of_environment_problems(bot)
        return ReloadingBot(bot, reactor) if options["reload"] else bot

    service_options = ServiceOptions(endpoints, config.GRACE_PERIOD, twistd.daemon)
    return BotService(reactor, service_options, process_exit, data_directory, web.listeners, make_managed_bot)
