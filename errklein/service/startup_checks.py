"""Checks before a bot starts: configuration, backends, storage, endpoints, Sentry and the environment; and the setup of
the log. They run before a daemon forks, so that errors appear on the terminal. Nothing stays open, and nothing is
changed. sentry_sdk sends errors to the service Sentry in threads of its own, so nothing here waits for the network."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from zope.interface import implementer

from errklein import logs
from errklein.config import Config, ConfigError, SecretError, load_config, located_errors, take_variables
from errklein.config.networks import IN_ERRBOT, check_libraries, find_network, is_local, network_of
from errklein.logs import FROM_TWISTED, record_of
from errklein.plugins.packages import environment_problems
from errklein.service._data_directory import DataDirectory, DataDirectoryError, user_name
from errklein.service.process_exit import RESTARTED
from errklein.storage import StorageError
from errklein.text.masking import masker

if TYPE_CHECKING:
    from errklein.bot import Bot


REQUIREMENTS_DELAY = 3.0
"""The seconds after which errklein's requirements are checked. That takes about 0.1 s of processor time, which the start needs."""


@dataclass(frozen=True)
class TwistdOptions:
    """The options of twistd that errklein uses: daemon or foreground, pid file, log file, directory."""

    daemon: bool = False
    pid_file: Path | None = None
    log_file: str | None = None
    directory: str | None = None

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> TwistdOptions:
        """Return the options that twistd has parsed. Raises ConfigError for those with which errklein doesn't run."""
        if "logFile" in options:
            raise ConfigError("errklein doesn't run in twist; run `errklein run` or `twistd -n errklein`")
        if refused := [name for name in ("uid", "gid", "chroot") if options.get(name) is not None]:
            raise ConfigError(
                f"twistd's --{refused[0]} isn't supported; start errklein as the bot's user, with User= in the unit of systemd"
            )
        pid_file = options.get("pidfile")
        return cls(
            daemon="nodaemon" in options and not options["nodaemon"] and not options["debug"],
            pid_file=Path(pid_file).absolute() if pid_file else None,
            log_file=options.get("logfile"),
            directory=options.get("rundir"),
        )


START_ERRORS = (ConfigError, DataDirectoryError, SecretError, StorageError)
"""Errors of the operator's configuration or data, with a text of one line."""


class Listening:
    """The endpoints for webhooks, monitoring, administrators and other nodes, of --web, --status, --console and --node or
    of settings. An empty --status or --console stands for none."""

    def __init__(
        self,
        config: Config,
        web: Sequence[str] = (),
        status: str | None = None,
        console: str | None = None,
        node: str | None = None,
    ) -> None:
        self.web: Sequence[str] = web or config.setting("WEB")
        self.status: str | None = config.setting("STATUS") if status is None else status or None
        self.console: str | None = config.setting("CONSOLE") if console is None else console or None
        self.node = node
        self._config = config
        self._named = [("--web" if web else "WEB", endpoint) for endpoint in self.web]
        if node is not None:
            self._named.append(("--node", node))
        for name, given, endpoint in (("STATUS", status, self.status), ("CONSOLE", console, self.console)):
            if endpoint is not None:
                self._named.append((name if given is None else f"--{name.lower()}", endpoint))

    def check(self) -> None:
        """Raise ConfigError if the description of an endpoint is invalid. Nothing is opened: an address may be in use."""
        # Imported late, so that problems of the environment are reported first.
        from errklein.listening import description_problem, identify

        others: dict[object, str] = {}
        for source, endpoint in self._named:
            if problem := description_problem(endpoint):
                raise ConfigError(f"{source} {endpoint or repr(endpoint)}: {problem}")
            if (other := others.setdefault(identify(endpoint), source)) != source:
                where = f"{source} {endpoint}: the endpoint is also that of {other}"
                raise ConfigError(f"{where}; expected one that isn't public")
        if self.console is not None and (problem := self._console_problem(self.console)):
            raise ConfigError(f"{self._named[-1][0]} {self.console}: {problem}")

    def _console_problem(self, endpoint: str) -> str:
        """Return the reason why nobody could use the console safely, as far as the settings show it; "" if there is none."""
        from errklein.listening import endpoint_url

        own, is_everywhere, _ = endpoint_url(endpoint).partition(" ")
        url = urlsplit(self._config.CONSOLE_URL or own)
        if url.scheme not in ("http", "https"):
            return "links need an address; set CONSOLE_URL"
        if url.scheme == "http" and not is_local(url.hostname or ""):
            return "links would lead to the console in clear over a network; set CONSOLE_URL to an address with https"
        clear = own.startswith("http:") and (is_everywhere or not is_local(urlsplit(own).hostname or ""))
        if clear and not self._config.TRUSTED_PROXIES:
            return (
                "the console isn't served in clear over a network; add :interface=127.0.0.1, use an endpoint with TLS, "
                "or name the proxy in TRUSTED_PROXIES"
            )
        return ""


@contextmanager
def errors_end_program() -> Iterator[None]:
    """Convert START_ERRORS raised in the context to SystemExit with the message."""
    try:
        yield
    except START_ERRORS as error:
        raise SystemExit(f"errklein: {error}") from None


def load_with_options(
    config: str | None,
    backend: str | None = None,
    data_dir: str | None = None,
    plugin_dirs: Sequence[str] = (),
    variables: Mapping[str, str] | None = None,
    *,
    is_again: bool = False,
) -> Config:
    """Return the configuration with the options --config, --network, --data-dir and --plugin-dir. Raises ConfigError.
    Without --config, ./config.py is used if it exists, else the built-in defaults: a name, and, without --network, WEB.
    `variables` are ERRKLEIN_SET__NAME and ERRKLEIN_FILE__NAME; by default they are taken from the environment."""
    variables = take_variables(os.environ) if variables is None else variables
    if config is None:
        check_current_directory()
    path = Path("config.py" if config is None else config)
    overrides = {"BACKEND": backend, "BOT_DATA_DIR": data_dir}
    given: dict[str, object] = {name: value for name, value in overrides.items() if value is not None}
    if config is not None or path.is_file():
        return load_config(
            path, given, plugin_dirs=plugin_dirs, variables=variables, is_again=is_again, is_replaced=is_replaced
        )
    built_in: dict[str, object] = {"BOT_IDENTITY": {"username": "@errklein"}}
    built_in |= {} if backend else {"WEB": "tcp:3141:interface=127.0.0.1"}
    replaced = {variable.partition("__")[2] for variable in variables}
    # Networks have identities of their own.
    replaced |= {"BOT_IDENTITY"} if "NETWORKS" in replaced else set()
    given = {name: value for name, value in built_in.items() if name not in replaced} | given
    return load_config(None, given, plugin_dirs=plugin_dirs, variables=variables, is_replaced=is_replaced)


def is_replaced(view: Config) -> bool:
    """Return whether a network that is written for errbot takes the place of errklein's own of that name."""
    # Most starts search no packages.
    if view.BACKEND in IN_ERRBOT or find_network(view.BACKEND) is None:
        return False
    # Imported late, so that problems of the environment are reported first.
    from errklein.wiring import other_networks

    return any(plug.name.lower() == view.BACKEND.lower() for plug in other_networks().network_plugs(view))


def check_in_process(options: Sequence[object]) -> Sequence[str]:
    """Return Python's arguments for a process that checks the configuration with the options of `load_checked`."""
    # The process finds modules where this one does, so errklein needn't be installed.
    code = (
        "import json, sys; sys.path[:], options = json.loads(sys.argv[1]); "
        f"from {__name__} import _check_options; _check_options(*options)"
    )
    return ["-P", "-c", code, json.dumps([[str(path) for path in sys.path], options])]


def _check_options(*options: Any) -> None:
    with errors_end_program():
        load_checked(Path.cwd(), *options)


def load_checked(directory: Path, web: Sequence[str], status: str | None, console: str | None, *options: Any) -> Config:
    """Return the configuration with --web, --status and --console, and those of `load_with_options`, checked as a running
    bot can. Raises one of START_ERRORS, also if this isn't the directory in which the options were given."""
    if Path.cwd() != directory:
        text = f"the bot runs in {Path.cwd()} (--rundir), and only a restart in {directory} reads paths again"
        raise ConfigError(text)
    config = load_with_options(*options, is_again=True)
    check_config(config)
    with located_errors(config):
        Listening(config, web, status, console).check()
    return config


def check_current_directory() -> None:
    """Raise ConfigError if the current directory was deleted, or if the process's user can't enter it."""
    try:
        directory = Path.cwd()
    except FileNotFoundError:
        raise ConfigError("the current directory was deleted; run `cd /` first, and use absolute paths") from None
    if not os.access(".", os.X_OK, effective_ids=True):
        raise ConfigError(
            f"the user {user_name()} can't enter the current directory {directory}; "
            "run `cd /` first, and use absolute paths"
        )


def check_config(config: Config) -> None:
    """Raise ConfigError or StorageError if the backends, the storage or Sentry can't be used as configured."""
    for view in config.networks.values():
        with located_errors(config, view):
            check_network(view)
    # Imported late, so that problems of the environment are reported first.
    from errklein.compat.storages import check_storage

    with located_errors(config):
        check_storage(config)
        check_sentry(config)


def network_warnings(config: Config) -> Iterator[str]:
    """Yield a sentence for each valid setting of a network that is probably a mistake."""
    for view in config.networks.values():
        if network := network_of(view):
            yield from network.settings.all_warnings(view)


def check_network(view: Config) -> None:
    """Raise ConfigError if the settings of a network are invalid, or its backend or a library is missing."""
    if (network := network_of(view)) is None:
        # Imported late, so that problems of the environment are reported first.
        from errklein.wiring import other_networks

        other_networks().find_network(view)
        return
    network.settings.read_identity(view.BOT_IDENTITY)
    check_libraries(network)
    network.settings.check(view)


def check_start(config: Config, twistd: TwistdOptions, data: DataDirectory, listening: Listening) -> None:
    """Raise one of START_ERRORS if the bot can't start with this configuration and these options."""
    if twistd.daemon and (of_terminal := on_terminal(config)):
        raise ConfigError(
            f"BACKEND is {of_terminal!r}, which needs a terminal, and a daemon has none; "
            "set another BACKEND, or run `errklein run` (`twistd -n errklein`)"
        )
    check_config(config)
    data.check()
    check_database(config)
    with located_errors(config):
        listening.check()


def check_database(config: Config, sleep: Callable[[float], None] = time.sleep) -> None:
    """Raise StorageError if the database of ERRKLEIN_DATABASE can't be used. A process that has restarted itself, since it had
    lost the database, waits for it instead: nobody might start the process again."""
    # Imported late, so that problems of the environment are reported first.
    from errklein.compat.storages import shared_database

    waits = os.environ.pop(RESTARTED, None) is not None
    for attempt in count():
        try:
            shared_database(config)
            return
        except StorageError as error:
            if not waits:
                raise
            if not attempt % 60:
                sys.stderr.write(f"errklein: waiting for the database: {masker(str(error))}\n")
        sleep(1.0)


def on_terminal(config: Config) -> str:
    """Return the BACKEND of the network that uses the terminal; "" if there is none."""
    networks = filter(None, map(network_of, config.networks.values()))
    return next((network.name for network in networks if network.needs_terminal), "")


def warn_of_problems(bot: Bot) -> None:
    """Log warnings about networks. Soon, notify administrators of unmet requirements of errklein, which a thread looks for."""
    for warning in network_warnings(bot.bot_config):
        bot.log.warn("{text}", text=warning)
    bot.reactor.callLater(REQUIREMENTS_DELAY, _check_requirements, bot)


def _check_requirements(bot: Bot) -> None:
    if bot.phase == "stopping":
        return
    checking = bot.plugin_pool.run(lambda: environment_problems)
    checking.addCallback(lambda problems: [bot.tell_admins(line) for line in problems])
    checking.addErrback(lambda failure: bot.log.failure("The check of errklein's requirements failed", failure))


def set_up_log(config: Config, options: TwistdOptions, data: DataDirectory) -> None:
    """Set the log's destinations, level and format, and forward the logging module's records to it. Raises ConfigError."""
    log = logs.destinations
    log.level = config.BOT_LOG_LEVEL
    log.theme = config.TEXT_COLOR_THEME
    log.formatter = config.BOT_LOG_FORMATTER
    log.outputs = outputs(config, options, terminal=sys.stdin is not None and sys.stdin.isatty())
    for output in log.outputs:
        if Path(output).absolute().parent == data.path:
            log.prepare = data.prepare
        elif output not in {"-", "+"}:
            check_log_file(output, "BOT_LOG_FILE" if output == config.BOT_LOG_FILE else "--logfile", data)
    # As on errbot, BOT_LOG_FILE is rotated by the operator, for example with logrotate.
    log.rotated = config.BOT_LOG_FILE not in log.outputs
    log.handle_signal()
    logs.bridge_stdlib(config.BOT_LOG_LEVEL)


def check_log_file(output: str, setting: str, data: DataDirectory) -> None:
    """Raise ConfigError, with the name of the setting or option, if the log file can't be written. A file in the data
    directory, which may be missing, is not checked."""
    path = Path(output).absolute()
    if path.parent == data.path or os.access(path if path.exists() else path.parent, os.W_OK):
        return
    if not path.parent.is_dir():
        remedy = "" if path.parent.exists() else f"; create it with `mkdir -p {path.parent}`"
        raise ConfigError(f"{setting}: {path} can't be created, since {path.parent} isn't a directory{remedy}")
    raise ConfigError(f"{setting}: {path} isn't writable; check its owner and mode, and those of its directory")


def outputs(config: Config, options: TwistdOptions, *, terminal: bool) -> list[str]:
    """Return the log's destinations: --logfile, BOT_LOG_FILE or a default, but not standard output if a network uses it."""
    text = bool(on_terminal(config))
    if options.log_file:
        return ["+"] if options.log_file == "-" and text else [options.log_file]
    also = [config.BOT_LOG_FILE] if config.BOT_LOG_FILE else []
    if options.daemon:
        return also or ["twistd.log"]
    if text and terminal:
        return also or [str(Path(config.BOT_DATA_DIR) / "errklein.log")]
    return ["+" if text else "-", *also]


_DEFAULTS: Mapping[str, Any] = {
    # Local variables contain passwords and messages.
    "include_local_variables": False,
    "send_default_pii": False,
    # sentry_sdk patches other libraries only if SENTRY_OPTIONS ask for it.
    "auto_enabling_integrations": False,
}
"""Options that differ from sentry_sdk's own defaults."""


def check_sentry(config: Config) -> None:
    """Raise ConfigError if BOT_LOG_SENTRY is True and events can't be sent to Sentry."""
    if not config.BOT_LOG_SENTRY:
        return
    if find_spec("sentry_sdk") is None:
        raise ConfigError("BOT_LOG_SENTRY requires sentry_sdk, which isn't installed; run `pip install sentry-sdk`")
    from sentry_sdk.utils import BadDsn, Dsn

    dsn = _init_options(config).get("dsn")
    if not dsn:
        raise ConfigError("SENTRY_DSN is missing; BOT_LOG_SENTRY requires the DSN that Sentry shows for the project")
    try:
        Dsn(dsn)
    except (BadDsn, ValueError):
        raise ConfigError("SENTRY_DSN is invalid; expected a URL such as https://key@sentry.example.org/1") from None


def start_sentry(config: Config) -> Callable[[], None]:
    """Start to send log events to Sentry if BOT_LOG_SENTRY is True, and return a function that stops it. A daemon must
    have forked, since threads don't survive the fork. Raises ConfigError."""
    if not config.BOT_LOG_SENTRY:
        return lambda: None
    check_sentry(config)
    import sentry_sdk
    from sentry_sdk.integrations import DidNotEnable
    from sentry_sdk.integrations.logging import LoggingIntegration

    options = _init_options(config)
    # Records of the standard library arrive through Twisted's log; with LoggingIntegration they would be sent twice.
    ours: list[Any] = [LoggingIntegration(level=None, event_level=None)]
    if config.BOT_LOG_SENTRY_FLASK:
        # find_spec can't tell whether Flask is installed, since errklein provides the module otherwise.
        with suppress(DidNotEnable):
            from sentry_sdk.integrations.flask import FlaskIntegration

            ours.append(FlaskIntegration())
    options["integrations"] = [*ours, *options.get("integrations", ())]
    options["before_send"] = partial(_mask, options.get("before_send"))
    try:
        sentry_sdk.init(**options)
    except Exception as error:
        text = f"SENTRY_OPTIONS is invalid; sentry_sdk.init raised {type(error).__name__}: {error}"
        raise ConfigError(text) from None
    observer = SentryObserver(config.SENTRY_LOGLEVEL, config.SENTRY_EVENTLEVEL)
    globalLogPublisher.addObserver(observer)
    return partial(globalLogPublisher.removeObserver, observer)


def _init_options(config: Config) -> dict[str, Any]:
    options = {**_DEFAULTS, **config.SENTRY_OPTIONS}
    if config.SENTRY_DSN:
        options["dsn"] = config.SENTRY_DSN
    if (given := config.SENTRY_TRANSPORT) is not None:
        try:
            options["transport"] = given if callable(given) else getattr(import_module(given[1]), given[0])
        except Exception as error:
            expected = "a class of sentry_sdk.transport, or the pair of its name and its module"
            raise ConfigError(f"SENTRY_TRANSPORT: {error}; expected {expected}") from None
    return options


@implementer(ILogObserver)
class SentryObserver:
    """Sends events at `event_level` or above to Sentry, each with preceding events at `level` or above as breadcrumbs."""

    def __init__(self, level: int, event_level: int) -> None:
        from sentry_sdk.integrations.logging import BreadcrumbHandler, EventHandler

        self._breadcrumbs = BreadcrumbHandler(level)
        self._events = EventHandler(event_level)

    def __call__(self, event: LogEvent) -> None:
        """Queue the event; another thread sends it."""
        import sentry_sdk

        record = record_of(event)
        request = vars(record).pop("request_id")
        del vars(record)[FROM_TWISTED]
        if record.levelno >= self._events.level:
            with sentry_sdk.new_scope() as scope:
                if request != "-":
                    scope.set_tag("request_id", request)
                self._events.handle(record)
        if record.levelno >= self._breadcrumbs.level:
            self._breadcrumbs.handle(record)


def _mask(before_send: Callable[[Any, Any], Any] | None, event: Any, hint: Any) -> Any:
    """Return the event with masked secrets, after the operator's own `before_send`; None if it isn't to be sent."""
    event = masker.values(event)
    return event if before_send is None else before_send(event, hint)
