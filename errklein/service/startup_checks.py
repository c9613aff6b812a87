"""Checks before a bot starts: configuration, networks, storage, Sentry and the environment.

They run before a daemon forks, so that errors appear on the terminal. Nothing is opened or changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from errklein.config import BACKENDS, Config, ConfigError, load_config, network_prefix
from errklein.plugins.environment import environment_problems
from errklein.service._data_directory import DataDirectory, DataDirectoryError, acting_as
from errklein.service.sentry import check_sentry
from errklein.service.twistd_options import TwistdOptions
from errklein.storage import StorageError

if TYPE_CHECKING:
    from errklein.bot import Bot

START_ERRORS = (ConfigError, DataDirectoryError, StorageError)
"""Expected errors, with a text of one line for the operator."""


@contextmanager
def errors_end_program() -> Iterator[None]:
    """Within, an expected error raises SystemExit with one line."""
    try:
        yield
    except START_ERRORS as error:
        raise SystemExit(f"errklein: {error}") from None


def load_with_options(
    config: str | None, backend: str | None = None, data_dir: str | None = None, plugin_dirs: Sequence[str] = ()
) -> Config:
    """The configuration, with the command line's options --backend, --data-dir and --plugin-dir. Raises ConfigError.

    The file is by default ./config.py, if there is one.
    """
    path = Path("config.py" if config is None else config)
    overrides = {"BACKEND": backend, "BOT_DATA_DIR": data_dir}
    given = {name: value for name, value in overrides.items() if value is not None}
    return load_config(path if config is not None or path.is_file() else None, given, plugin_dirs=plugin_dirs)


def check_config(config: Config) -> None:
    """Raise ConfigError or StorageError if networks, storage or Sentry can't be used as configured."""
    for view in config.networks.values():
        try:
            _check_network(view)
        except ConfigError as error:
            raise ConfigError(f"{network_prefix(view)}{error}") from None
    # Imported late, so that problems of the environment are reported first.
    from errklein.compat.storages import check_storage

    check_storage(config)
    check_sentry(config)


def _check_network(view: Config) -> None:
    if view.BACKEND == "IRC":
        from errklein.backends.irc.connection import trusted
        from errklein.backends.irc.settings import IRCSettings

        trusted(IRCSettings.read(view))
    elif view.BACKEND not in BACKENDS:
        from errklein.compat.backends.finding import find_network

        find_network(view)


def check_start(
    config: Config,
    twistd: TwistdOptions,
    data_directory: DataDirectory,
    endpoints: Sequence[str],
    data_dir: str | None,
    no_import: bool,
) -> None:
    """Raise one of START_ERRORS if twistd can't run the bot on these endpoints.

    `data_dir` and `no_import` are the options --data-dir and --no-import. With --chroot, paths and sockets are those of
    another root directory, so nothing else is checked.
    """
    if twistd.daemon and uses_text(config):
        raise ConfigError(
            "BACKEND: Text talks on the terminal, which a daemon doesn't have; "
            "expected another backend, or the foreground: twistd -n errklein"
        )
    if twistd.chroot:
        return
    from errklein.compat.storages import check_shelves
    from errklein.service._endpoint_check import check_endpoint

    check_config(config)
    data_directory.check()
    if not no_import:
        # The service checks this again, but the parent of a daemon shows only 100 bytes of its error.
        with acting_as(twistd.uid, twistd.gid):
            check_shelves(config, data_dir)
    for endpoint in endpoints:
        check_endpoint(endpoint)


def uses_text(config: Config) -> bool:
    """Whether one of the networks is a conversation on the terminal."""
    return any(view.BACKEND == "Text" for view in config.networks.values())


def warn_of_environment_problems(bot: Bot) -> None:
    """Warn administrators of each requirement of errklein that isn't fulfilled; the check runs in a thread."""
    checking = bot.plugin_pool.run(lambda: environment_problems)
    checking.addCallback(lambda problems: [bot.tell_admins(line) for line in problems])
    checking.addErrback(lambda failure: bot.log.failure("errklein's environment can't be checked", failure))
