"""The command `errklein storage move`: all data of a stopped bot moves from files to a database, or back."""

from __future__ import annotations

import socket
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path

from errklein import journal, storage
from errklein.cli._data import locked_directory
from errklein.cli._parser import print_lines
from errklein.compat.storages import database_of, moved_mark
from errklein.config import Config, ConfigError, read_secret
from errklein.config.databases import find_databases
from errklein.config.secrets import flush_directory, write_private_file
from errklein.database import SUFFIXES
from errklein.service import DataDirectory, errors_end_program, load_with_options
from errklein.storage import StorageError
from errklein.verify import parse_reference

FILES = "sqlite"  # the argument for the files of the data directory

Files = Mapping[Path, Sequence[str]]

_INTERRUPTED = "`errklein storage move sqlite` was interrupted; run it again"
_MOVED = (
    "`errklein storage move` has moved the data to {}; set ERRKLEIN_DATABASE to its address. If it has no data, run the command "
    "again. To use the data that was here before the move, remove this file"
)


def move(known: Namespace) -> int:
    with errors_end_program():
        config = load_with_options(known.config, data_dir=known.data_dir)
        DataDirectory(Path(config.BOT_DATA_DIR)).check_user()
        if config.STORAGE != "Shelf":
            raise StorageError(f"STORAGE is {config.STORAGE!r}; only the values of 'Shelf' can be moved")
        files = {
            database_of(config): storage.MIGRATIONS,
            Path(config.BOT_DATA_DIR, journal.DATABASE): journal.MIGRATIONS,
        }
        with locked_directory(config, create=True):
            lines = _to_files(config, files) if known.to == FILES else _to_database(config, files, known.to)
    return print_lines(lines)


def _to_database(config: Config, files: Files, to: str) -> Sequence[str]:
    address, values = _address(to), database_of(config)
    if not values.exists():
        raise StorageError(f"{values} doesn't exist, so there is nothing to move; check --config")
    present = {path: migrations for path, migrations in files.items() if path.exists()}
    lines = find_databases(address, "TO").move_in(address, present, lambda name: _mark(config, _MOVED.format(name)))
    return [*lines, "set ERRKLEIN_DATABASE to the address of this database, and start the bot"]


def _to_files(config: Config, files: Files) -> Sequence[str]:
    address, mark = config.ERRKLEIN_DATABASE, moved_mark(config)
    if address is None:
        raise ConfigError("ERRKLEIN_DATABASE isn't set; it names the database whose data moves to files")
    present = [path for path in files if path.exists()]
    if present and not (mark.exists() and mark.read_text("utf-8").startswith(_INTERRUPTED)):
        raise StorageError(
            f"{present[0]} exists already, and nothing was moved; move it away, or use another BOT_DATA_DIR"
        )
    _mark(config, f"{_INTERRUPTED}, or remove this file and {' and '.join(map(str, files))}")
    for path in present:
        for suffix in SUFFIXES:
            path.with_name(path.name + suffix).unlink(missing_ok=True)
    lines = find_databases(address).move_out(address, files, f"{mark.parent.absolute()} on {socket.gethostname()}")
    for directory in {path.parent for path in files}:
        flush_directory(directory)
    mark.unlink()
    return [*lines, "leave out ERRKLEIN_DATABASE, and start the bot"]


def _address(to: str) -> str:
    try:
        parse_reference(to)
    except ValueError:
        if "://" not in to:
            raise ConfigError("TO: expected sqlite, or the address of a database such as postgresql://db/bot") from None
        return to
    return read_secret(to).decode()


def _mark(config: Config, text: str) -> None:
    try:
        write_private_file(moved_mark(config), [f"{text}\n".encode()])
    except OSError as error:
        raise StorageError(f"{moved_mark(config)} can't be written: {error.strerror}") from None
