"""The commands for a bot's data: import-errbot, export-errbot, backup, restore and storage. Those that change it need a
stopped bot. The functions with a public name run the command of this name. They return the exit status: 0, or 1 if values
were left out. If they raise ConfigError, DataDirectoryError, SecretError or StorageError, nothing was changed."""

from __future__ import annotations

import ast
import json
import sys
from argparse import Namespace
from base64 import b64decode, b64encode
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from errklein import journal
from errklein import storage as stored
from errklein.cli._parser import complain, print_lines
from errklein.compat.storages import (
    check_storage,
    command_for,
    database_of,
    make_storage,
    shared_database,
    shelves_to_import,
)
from errklein.compat.stored_classes import STORED_VALUES, ErrbotPickles, NameJudge, plugs_of, without_endpoints
from errklein.config import Config, ConfigError, SecretStore
from errklein.config.databases import find_databases
from errklein.config.secrets import write_private_file
from errklein.database import Access, DatabaseError
from errklein.ports.nodes import SharedDatabase
from errklein.ports.values import OF_NETWORK, Storage
from errklein.service import DataDirectory
from errklein.storage import StorageError
from errklein.text.masking import masker, secrets_in
from errklein.text.suggestions import did_you_mean
from errklein.wiring import open_archive

ERRBOT_BACKUP_NAME = "backup.py"
_SECRETS_FORMAT = "errklein secrets"

# The commands that change the bot's data, which are noted in the journal.
CHANGES = ("import_errbot", "release_messages", "restore", "storage_merge", "storage_set")

_REQUIRED_TYPES: Mapping[tuple[str, str], type | tuple[type, ...]] = {
    ("core", "configs"): dict,
    ("core", "bl_plugins"): (list, tuple, set),
    ("core", "missed_notices"): dict,
    ("core", "requirements"): dict,
    ("repomgr", "installed_repos"): dict,
    ("repomgr", "repo_index"): dict,
}
"""The types of the bot's own values by namespace and key. With a value of another type, the bot can't start."""

_SET_BY_THE_BOT = {("core", "requirements"), ("repomgr", "repo_index"), stored.MARK, stored.SETTLED}
"""The namespaces and keys of values that the first start stores. A bot without other values counts as empty."""


_OF_ERRBOT = {
    "core": ("bl_plugins", "configs"),
    "repomgr": ("installed_repos", "repo_index"),
    stored.ROOM_WEBHOOKS: (),
    stored.ROOM_SECRETS: (),
}
"""The keys of the bot's own values that errbot has, too, by namespace."""


def import_errbot(config: Config, known: Namespace) -> int:
    """Import the values of errbot's shelves in the data directory; the shelves are not changed. With `force`, stored
    values that differ are replaced; a backup of them is written first."""
    if config.STORAGE != "Shelf":
        raise StorageError(f"STORAGE is {config.STORAGE!r}; errbot's shelves can be imported only into 'Shelf'")
    directory = database_of(config).parent
    shelves = stored.find_shelves(directory)
    if not shelves:
        raise StorageError(f"{directory} has no shelves of errbot's; name errbot's data directory with --data-dir")
    with _locked_storage(config, create=True) as storage:
        assert isinstance(storage, stored.SQLiteStorage)
        imported = set(stored.imported_shelves(storage))
        present = {(namespace, key): data for namespace, key, data in storage.rows()}
        plan = stored.ImportPlan(imported, present, known.force, NameJudge(plugs_of(config)), known.trust)
        for shelf in shelves:
            plan.add(shelf)
        if plan.replaced:
            _back_up_first(config, storage, "before-import.jsonl")
        storage.put([*plan.rows, (*stored.MARK, stored.dumps(sorted(imported.union(plan.done))))], trusted=known.trust)
    print_lines(plan.notes)
    return complain(plan.problems)


def export_errbot(config: Config, known: Namespace) -> int:
    """Write the bot's values to shelves in the directory, by default the data directory; `force` moves existing ones first."""
    if config.STORAGE != "Shelf":
        raise StorageError(f"STORAGE is {config.STORAGE!r}, which errbot uses itself; only 'Shelf' can be exported")
    if not (database := database_of(config)).exists() and config.ERRKLEIN_DATABASE is None:
        raise StorageError(f"{database} doesn't exist, so there is nothing to export; check --config")
    target = Path(known.directory or database.parent)
    with _locked_storage(config) as storage:
        shelves, problems = _as_shelves(stored.rows_of(storage), ErrbotPickles(plugs_of(config)))
        # Values that were removed after the import must not come back.
        names = {*shelves, *stored.imported_shelves(storage)}
        existing = [shelf for shelf in stored.find_shelves(target) if shelf.namespace in names]
        if existing and not known.force:
            present = ", ".join(shelf.namespace for shelf in existing)
            text = f"{target} has shelves already ({present}); name a --directory, or move them with --force"
            raise StorageError(text)
        kept = stored.write_shelves(target, shelves, existing)
    print_lines(f"{namespace}: {_values(len(values))} exported" for namespace, values in shelves.items())
    print_lines([f"{target}: the shelves", *([f"{kept}: the shelves from before"] if kept else [])])
    return complain(problems)


def _as_shelves(rows: Iterable[stored.Row], for_errbot: ErrbotPickles) -> tuple[dict[str, dict[str, bytes]], list[str]]:
    """Return the pickles for errbot by namespace and key, and lines about values that are left out."""
    shelves: dict[str, dict[str, bytes]] = {}
    problems: list[str] = []
    for namespace, key, data in rows:
        if key not in _OF_ERRBOT.get(namespace, (key,)):
            continue
        if (namespace, key) == ("core", "configs"):
            data, endpoints = without_endpoints(data)
            problems += [f"core: errbot has no ENDPOINTS, so Webserver won't listen on {one}" for one in endpoints]
        try:
            if Path(namespace).name != namespace or "\0" in namespace:
                raise stored.NotExportable("the namespace can't be the name of a file")
            key.encode()
            shelves.setdefault(namespace, {})[key] = for_errbot(data)
        except (stored.DamagedPickle, stored.NotExportable, UnicodeEncodeError) as error:
            problems.append(f"{namespace}: {key!r} is not exported: {error}")
    return shelves, problems


def backup(config: Config, known: Namespace) -> int:
    """Write a backup to the data directory, as the command !backup does. The bot may run, unless its storage is a third
    party's. With `with_secrets`, the secrets of webhooks that were made at run time are written to another file."""
    directory = Path(config.BOT_DATA_DIR)
    path = directory / stored.BACKUP_NAME
    store = SecretStore.of(directory)
    # The bot may rotate a secret while the values are read.
    before = store.contents() if known.with_secrets else {}
    with storage_to_read(config) as storage:
        # A bot on a shared database may not have run here.
        _data_of(config).prepare()
        count = stored.write_backup(path, stored.rows_of(storage, _namespaces(config)))
    is_shared = config.ERRKLEIN_DATABASE is not None
    copied = journal.back_up(None if is_shared else directory, path)
    lines = [f"{path}: {_values(count)}", *([f"{copied}: deliveries and messages"] if copied else [])]
    lines += ["without deliveries and messages: pg_dump copies the whole database of ERRKLEIN_DATABASE"] * is_shared
    if known.with_secrets:
        secrets = {**before, **store.contents()}
        _write_secrets(path, secrets)
        lines.append(f"{_secrets_of(path)}: secrets of webhooks: {len(secrets)}")
    return print_lines(lines)


def _secrets_of(values: Path) -> Path:
    return values.with_name(f"{values.stem}.secrets.json")


def _write_secrets(values: Path, secrets: Mapping[str, bytes]) -> None:
    encoded = {name: b64encode(secret).decode("ascii") for name, secret in secrets.items()}
    content = {"format": _SECRETS_FORMAT, "version": 1, "secrets": encoded}
    try:
        write_private_file(_secrets_of(values), [json.dumps(content, indent=1).encode()])
    except OSError as error:
        raise StorageError(f"{_secrets_of(values)} can't be written: {error.strerror}") from None


def _read_secrets(values: Path) -> dict[str, bytes]:
    """Return the secrets beside a backup. Those of an earlier one have other names, or are the same."""
    path = _secrets_of(values)
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_bytes())
        if (content["format"], content["version"]) != (_SECRETS_FORMAT, 1):
            raise ValueError
        return {name: b64decode(secret, validate=True) for name, secret in content["secrets"].items()}
    except OSError as error:
        raise StorageError(f"{path} can't be read: {error.strerror}; nothing was restored") from None
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
        text = f"{path} has no secrets that this errklein can read; move it away to restore the values alone"
        raise StorageError(text) from None


def note(config: Config, known: Namespace) -> None:
    """Note in the journal, if there is one, that one of CHANGES was made."""
    from errklein.cli._webhooks import shell_user

    command = f"{known.command} {getattr(known, 'what', '')}".strip()
    with suppress(DatabaseError), closing(open_archive(config, Access.SHARE)) as archive:
        by = shell_user(archive)
        assert by.note is not None
        by.note(command, str(getattr(known, "namespace", None) or getattr(known, "file", None) or ""))


def release_messages(config: Config, _: Namespace) -> int:
    with _locked(config), closing(open_archive(config, Access.OWN)) as archive:
        count = archive.release_messages()
    return print_lines([f"messages to be sent at the next start, unless they are older than OUTBOX_MAX_AGE: {count}"])


def restore(config: Config, known: Namespace) -> int:
    """Store the values of a backup of errklein or errbot in an empty bot, and the secrets of webhooks beside it. If a value
    uses a name that is neither allowed nor in `trust`, nothing is restored. With `force`, values of the same name are
    replaced; a backup of them is written first. With `with_deliveries`, so is the journal, and what waits in it is paused."""
    file = _default_backup(config) if known.file is None else Path(known.file)
    read = stored.read_any_backup(file)
    secrets = _read_secrets(file)
    if known.with_deliveries and config.ERRKLEIN_DATABASE is not None:
        text = "deliveries are in the database of ERRKLEIN_DATABASE; restore what pg_dump has written with pg_restore"
        raise StorageError(f"--with-deliveries: {text}")
    if known.with_deliveries:
        journal.check_backup(journal.backup_of(file))
    refusals, warnings = stored.check_rows(read.rows, NameJudge(plugs_of(config)), known.trust)
    if refusals:
        return complain([*refusals, f"{file}: nothing was restored"])
    with _locked_storage(config, create=True) as storage:
        present = sum(1 for row in stored.rows_of(storage, _namespaces(config)) if row[:2] not in _SET_BY_THE_BOT)
        if present and not known.force:
            setting = "BOT_DATA_DIR" if config.ERRKLEIN_DATABASE is None else "ERRKLEIN_DATABASE"
            where = f"{config.BOT_DATA_DIR}: " if setting == "BOT_DATA_DIR" else ""
            raise StorageError(
                f"{where}the bot has {_values(present)} already, so nothing was restored; use an empty "
                f"{setting}, or replace values of the same name: "
                f"`{command_for(config, config.BOT_DATA_DIR, 'restore', '--force', str(file.absolute()))}`"
            )
        if present:
            _back_up_first(config, storage, "before-restore.jsonl")
        # Values that name a secret are stored after it. A file that exists isn't replaced: its name has a random part.
        if secrets:
            SecretStore.of(config.BOT_DATA_DIR).put(secrets)
        _put(storage, read.rows, trusted=known.trust)
        print_lines([*warnings, f"{_values(len(read.rows))} restored from {file}"])
        if secrets:
            print_lines([f"secrets of webhooks restored from {_secrets_of(file)}: {len(secrets)}"])
        if known.with_deliveries:
            deliveries, messages = journal.restore_paused(Path(config.BOT_DATA_DIR), journal.backup_of(file))
            waiting = f"messages restored, which wait until `errklein release-messages`: {messages}"
            print_lines([f"deliveries restored, {deliveries} of which wait until !webhook resume", waiting])
    return complain(read.problems)


def storage_get(config: Config, known: Namespace) -> int:
    """Print the values of the namespace as a Python dict, which `storage_set` accepts. Values that aren't literals are left
    out and reported. Without values, a name of no plugin raises StorageError, or is an empty dict with `missing_ok`."""
    namespace, missing_ok = known.namespace, known.missing_ok
    literals: dict[str, Any] = {}
    problems: list[str] = []
    with storage_to_read(config, missing_ok=missing_ok) as storage, closing(storage.open(namespace)) as store:
        _check_imported(config, storage)
        keys = list(store.keys())
        if not keys and not missing_ok:
            _check_namespace(config, storage, namespace)
        for key in keys:
            try:
                value = store.get(key)
            except stored.UnreadableValue:
                problems.append(f"{namespace}: the value of {key!r} can't be read without its plugin and was left out")
                continue
            if _is_literal(value):
                literals[key] = value
            else:
                problems.append(f"{namespace}: the value of {key!r} isn't a Python literal and was left out")
    shown = repr(literals)
    if namespace.startswith(OF_NETWORK) or namespace == stored.ROOM_SECRETS:
        # Its tokens are nobody's business; other values are those of plugins and of the configuration.
        masker.learn(storage, namespace, secrets_in(literals, secret=namespace == stored.ROOM_SECRETS))
        shown = masker(shown)
    sys.stdout.write(f"{shown}\n")
    return complain(problems)


def storage_set(config: Config, known: Namespace) -> int:
    """Replace the values of the namespace by those of the Python dict on standard input. `storage merge` adds the
    values, and merges dicts with stored dicts of the same key."""
    namespace, merge, values = known.namespace, known.what == "merge", _parsed(sys.stdin.read())
    with _locked_storage(config) as storage:
        _check_imported(config, storage)
        with closing(storage.open(namespace)) as store:
            for key in values.keys() & store.keys() if merge else ():
                before = store.get(key)
                if isinstance(before, dict) and isinstance(values[key], dict):
                    values[key] = {**before, **values[key]}
        rows = [(namespace, key, stored.dumps(value)) for key, value in values.items()]
        _put(storage, rows, () if merge else [namespace])
    return 0


storage_merge = storage_set


def storage_init(config: Config, _: Namespace) -> int:
    address = config.ERRKLEIN_DATABASE
    if address is None:
        raise ConfigError("ERRKLEIN_DATABASE isn't set, and a bot on SQLite makes its files at the start")
    return print_lines(find_databases(address).create_tables(address))


def _check_imported(config: Config, storage: Storage) -> None:
    if reason := shelves_to_import(config, storage, config.BOT_DATA_DIR):
        raise StorageError(reason)


@contextmanager
def _locked_storage(config: Config, *, create: bool = False) -> Iterator[Storage]:
    with _locked(config, create=create) as database, closing(make_storage(config, database=database)) as storage:
        yield storage


@contextmanager
def _locked(config: Config, *, create: bool = False) -> Iterator[SharedDatabase | None]:
    database = shared_database(config)
    with (
        locked_directory(config, create=create or database is not None),
        nullcontext() if database is None else database.alone(),
    ):
        yield database


@contextmanager
def locked_directory(config: Config, *, create: bool = False) -> Iterator[None]:
    data = _data_of(config)
    if not create:
        data.check_exists()
    data.check()
    data.prepare()
    data.lock()
    try:
        yield
    finally:
        data.unlock()


@contextmanager
def storage_to_read(config: Config, *, missing_ok: bool = False) -> Iterator[Storage]:
    """Open the bot's storage, which isn't changed. The storage Shelf may be in use by a running bot, also one of an older errklein."""
    data = _data_of(config)
    if config.STORAGE != "Shelf":
        with _locked_storage(config, create=missing_ok) as storage:
            yield storage
        return
    data.check_readable(missing_ok=missing_ok or config.ERRKLEIN_DATABASE is not None)
    with closing(make_storage(config, Access.COPY)) as storage:
        yield storage


def _data_of(config: Config) -> DataDirectory:
    check_storage(config)
    if config.STORAGE == "Memory":
        raise StorageError("STORAGE is 'Memory', so the bot has no stored values")
    return DataDirectory(Path(config.BOT_DATA_DIR))


def _default_backup(config: Config) -> Path:
    for name in (stored.BACKUP_NAME, ERRBOT_BACKUP_NAME):
        path = Path(config.BOT_DATA_DIR) / name
        if path.is_file():
            return path
    text = f"{config.BOT_DATA_DIR} has no {stored.BACKUP_NAME} or {ERRBOT_BACKUP_NAME}; name the file of the backup"
    raise StorageError(text)


def _back_up_first(config: Config, storage: Storage, name: str) -> None:
    path = Path(config.BOT_DATA_DIR) / name
    stored.write_backup(path, stored.rows_of(storage, _namespaces(config)))
    print_lines([f"{path}: the values before this command"])


def _put(
    storage: Storage, rows: Sequence[stored.Row], instead_of: Iterable[str] = (), trusted: Collection[str] | None = None
) -> None:
    """Store the rows, and remove all other values of the namespaces in `instead_of`. With None for `trusted`, the values may
    use any names, since they are the bot's own. Raises StorageError if the bot couldn't start with one of the values."""
    for namespace, key, data in rows:
        if (namespace, key) not in _REQUIRED_TYPES:
            continue
        try:
            value = stored.plain_value(data)
        except ValueError:
            # The value contains instances of plugins' classes.
            continue
        if not isinstance(value, _REQUIRED_TYPES[namespace, key]):
            kind = type(value).__name__
            raise StorageError(f"{namespace}: the value of {key!r} can't be of type {kind}; nothing was changed")
    stored.put_rows(storage, rows, instead_of, trusted=trusted, values=STORED_VALUES)


def _namespaces(config: Config) -> list[str]:
    """Return the namespaces of the bot itself, its networks and its plugins. A storage may be unable to list its own."""
    backends = {f"{view.BACKEND.lower()}_backend" for view in config.networks.values()}
    backends |= {OF_NETWORK + name for name in config.networks}
    return sorted({*stored.OWN_NAMESPACES, *backends, *(plug.name for plug in plugs_of(config))})


def _check_namespace(config: Config, storage: Storage, namespace: str) -> None:
    with_values = sorted(storage.namespaces())
    known = {*with_values, *_namespaces(config)}
    if namespace in known:
        return
    suggestion = did_you_mean(namespace, known) or "."
    text = f"unknown namespace {namespace!r}{suggestion} Namespaces with values: {', '.join(with_values) or 'none'}"
    raise StorageError(text)


def _parsed(text: str) -> dict[str, Any]:
    try:
        value = ast.literal_eval(text.strip())
    except SyntaxError as error:
        problem = f"standard input isn't a Python dict: {error.msg} at line {error.lineno}; nothing was changed"
        raise StorageError(problem) from None
    except (ValueError, TypeError, MemoryError, RecursionError):
        raise StorageError("standard input isn't a Python dict of literals; nothing was changed") from None
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise StorageError("standard input isn't a Python dict with strings as keys; nothing was changed")
    return dict(value)


def _is_literal(value: Any) -> bool:
    try:
        return bool(ast.literal_eval(repr(value)) == value)
    except Exception:
        # Plugins' classes may raise anything in __repr__ and __eq__.
        return False


def _values(count: int) -> str:
    return f"{count} value" + ("" if count == 1 else "s")
