"""errbot's storages on PyPI, unchanged, on errbot and on errklein: compares opening, stored values and closing.

The packages are directories below a given one, as `pip install --no-deps --target` creates them. The modules of the
database are replaced, in the same way for both bots: the content of the database is in a file, so it outlives the bot.
The result is a table in Markdown.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import types
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
LIMIT = 60.0
"""The limit in seconds for one run of a bot."""


@dataclass(frozen=True)
class Tried:
    """A package and its configuration."""

    title: str
    package: str
    """The name and version on PyPI."""
    storage: str
    config: Mapping[str, Any]
    stand_in: Callable[[Path], Callable[[], str]] | None = None
    """Replaces the modules of the database in the directory; returns a function that reports what is still open."""
    note: str = ""

    @property
    def directory(self) -> str:
        """The directory of the package, below the given one."""
        return self.package.split()[0].replace("-", "_")


class Rethink:
    """RethinkDB's tables, with values that JSON can represent, and the used parts of its modules."""

    def __init__(self, directory: Path) -> None:
        self._file, self._lock = directory / "rethink.json", threading.RLock()
        self._pools: list[Any] = []

    def open_connections(self) -> str:
        """Return the number of created and of open pools as text."""
        return f"{sum(pool.open for pool in self._pools)} of {len(self._pools)} open"

    def modules(self) -> Mapping[str, types.ModuleType]:
        """Return the driver as of version 2.3, and the pool as of version 0.3."""
        driver, pool, server = types.ModuleType("rethinkdb"), types.ModuleType("repool_forked"), self

        class Row:
            def __getitem__(self, name: str) -> Field:
                return Field(name)

        class Field:
            def __init__(self, name: str) -> None:
                self._name = name

            def __eq__(self, value: object) -> Any:
                return lambda row: row.get(self._name) == value

            __hash__ = None  # type: ignore[assignment]

        class ConnectionPool:
            open = True

            def __init__(self, **given: Any) -> None:
                self._conn_args = given
                server._pools.append(self)

            @contextmanager
            def connect(self) -> Iterator[object]:
                if not self.open:
                    raise RuntimeError("the pool was released")
                yield self

            def release_pool(self) -> None:
                self.open = False

        vars(driver).update(
            row=Row(),
            table=lambda name: _Table(server, name),
            table_list=lambda: _Query(lambda: list(server.read()["tables"])),
            table_create=lambda name: _Query(lambda: server.change(lambda all_: all_["tables"].setdefault(name, []))),
            db_list=lambda: _Query(lambda: server.read()["databases"]),
            db_create=lambda name: _Query(lambda: server.change(lambda all_: all_["databases"].append(name))),
        )
        vars(pool).update(ConnectionPool=ConnectionPool)
        return {"rethinkdb": driver, "repool_forked": pool}

    def read(self) -> dict[str, Any]:
        """Return the content of the database."""
        with self._lock:
            if not self._file.exists():
                return {"databases": ["test"], "tables": {}}
            found: dict[str, Any] = json.loads(self._file.read_text(encoding="utf-8"))
            return found

    def change(self, how: Callable[[dict[str, Any]], object]) -> Mapping[str, int]:
        """Change the content of the database."""
        with self._lock:
            everything = self.read()
            how(everything)
            self._file.write_text(json.dumps(everything), encoding="utf-8")
        return {"errors": 0}


class _Query:
    def __init__(self, do: Callable[[], Any]) -> None:
        self._do = do

    def run(self, connection: object) -> Any:
        return self._do()


class _Table(_Query):
    def __init__(self, server: Rethink, name: str, wanted: Callable[[Mapping[str, Any]], bool] = bool) -> None:
        super().__init__(lambda: [row for row in server.read()["tables"][name] if wanted(row)])
        self._server, self._name, self._wanted = server, name, wanted

    def filter(self, wanted: Callable[[Mapping[str, Any]], bool]) -> _Table:
        return _Table(self._server, self._name, wanted)

    def pluck(self, name: str) -> _Query:
        return _Query(lambda: [{name: row[name]} for row in self._do()])

    def insert(self, row: Mapping[str, Any]) -> _Query:
        return self._changed(lambda rows: [*rows, {"id": str(uuid.uuid4()), **row}])

    def update(self, values: Mapping[str, Any]) -> _Query:
        return self._changed(lambda rows: [{**row, **values} if self._wanted(row) else row for row in rows])

    def delete(self) -> _Query:
        return self._changed(lambda rows: [row for row in rows if not self._wanted(row)])

    def _changed(self, how: Callable[[list[Any]], list[Any]]) -> _Query:
        def change(everything: dict[str, Any]) -> None:
            everything["tables"][self._name] = how(everything["tables"][self._name])

        return _Query(lambda: self._server.change(change))


def rethink(directory: Path) -> Callable[[], str]:
    """Replace RethinkDB's modules."""
    server = Rethink(directory)
    sys.modules.update(server.modules())
    return server.open_connections


_RETHINK = ("errbot-rethinkdb-storage 1.1.2", "RethinkDB", {"db": "bot"})
TRIED = (
    Tried("RethinkDB", *_RETHINK, note="it needs rethinkdb before 2.4 and repool-forked before 1.0"),
    Tried(
        "RethinkDB, its modules stood in for",
        *_RETHINK,
        stand_in=rethink,
        note="it keeps all plugins' values and the bot's own in one table: the bot's are left out here",
    ),
)


def _set(key: str, value: Any) -> Callable[[Any], Any]:
    return lambda plugin: plugin.__setitem__(key, value)


def _mutate(plugin: Any) -> None:
    with plugin.mutable("k") as value:
        value["a"].append("é")


def _own(plugin: Any) -> list[str]:
    """Return the plugin's own keys. A storage may have the bot's keys, which differ on both bots, in the same place."""
    return sorted({"k", "gone", "other"}.intersection(plugin.keys()))


def _length(plugin: Any) -> int:
    return len(plugin) - len(list(plugin.keys())) + len(_own(plugin))


def _configure(plugin: Any) -> None:
    plugin._bot.plugin_manager.set_plugin_configuration("Speaker", {"loud": True, "times": [1, 2]})


_READ: Mapping[str, Callable[[Any], Any]] = {
    "self['k']": lambda plugin: plugin["k"],
    "len(self)": _length,
    "sorted(self.keys())": _own,
    "'k' in self, 'gone' in self": lambda plugin: ("k" in plugin, "gone" in plugin),
    "self['gone']": lambda plugin: plugin["gone"],
    "self.get('gone', 'default')": lambda plugin: plugin.get("gone", "default"),
    "a plugin's configuration": lambda plugin: plugin._bot.plugin_manager.get_plugin_configuration("Speaker"),
    "a plugin is blacklisted": lambda plugin: plugin._bot.plugin_manager.is_plugin_blacklisted("ChatRoom"),
}
STEPS: Mapping[str, Callable[[Any], Any]] = {
    "len(self) at first": _length,
    "self['k'] = 1": _set("k", 1),
    "self['k'], an int": lambda plugin: plugin["k"],
    "self['k'] = a dict": _set("k", {"a": [1, 2.5, None, True]}),
    "with self.mutable('k')": _mutate,
    "self['gone'] = 'x'": _set("gone", "x"),
    "len(self) with both": _length,
    "del self['gone']": lambda plugin: plugin.__delitem__("gone"),
    "del self['gone'] again": lambda plugin: plugin.__delitem__("gone"),
    "self['other'] = an object": _set("other", object()),
    "configure a plugin": _configure,
    "blacklist a plugin": lambda plugin: plugin._bot.plugin_manager.blacklist_plugin("ChatRoom") and None,
    **_READ,
}
"""The steps of the plugin. After a restart of the bot, it executes those of _READ."""


@dataclass(frozen=True)
class Seen:
    """The behaviour of a storage on one bot that is started twice."""

    opened: bool = False
    said: Sequence[Sequence[str]] = ()
    left: str = ""
    """The connections that were still open after the bot had stopped."""
    error: str = ""
    again: Seen | None = field(default=None, compare=False)


def try_storage(tried: Tried, files: Path, on_errklein: bool, database: Path, tell: Callable[[Seen], None]) -> None:
    """Run a bot with the storage in this process until its plugin has finished, and report the behaviour."""
    if on_errklein:
        sys.path.insert(0, str(HERE.parent))
        from errklein import compat

        compat.install()
    from errbot.bootstrap import bot_config_defaults, setup_bot

    again = any(database.iterdir())
    (database / "started").touch()
    still_open = tried.stand_in(database) if tried.stand_in else str
    data = tempfile.mkdtemp(dir=Path.cwd())
    config = types.SimpleNamespace(
        BACKEND="Null",
        BOT_ASYNC=True,
        BOT_ADMINS=("alice",),
        BOT_IDENTITY={"username": "bot"},
        BOT_DATA_DIR=data,
        BOT_LOG_FILE=f"{data}/log.txt",
        BOT_LOG_LEVEL=logging.DEBUG,
        BOT_EXTRA_PLUGIN_DIR=[str(HERE / "plugins_for_networks")],
        BOT_EXTRA_STORAGE_PLUGINS_DIR=str(files),
        BOT_PREFIX="!",
        STORAGE=tried.storage,
        STORAGE_CONFIG=dict(tried.config),
    )
    bot_config_defaults(config)
    bot = setup_bot("Null", logging.getLogger(), config)
    tell(Seen(error="it doesn't run"))
    seen = Seen(opened=True, error="it doesn't stop")

    def use() -> None:
        nonlocal seen
        try:
            plugin = _speaker(bot)
            seen = replace(seen, said=[[name, _said(plugin, do)] for name, do in (_READ if again else STEPS).items()])
        except Exception as problem:
            seen = replace(seen, error=f"{type(problem).__name__}: {problem}")
        tell(seen)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=use, daemon=True).start()
    try:
        bot.serve_forever()
    finally:
        tell(replace(seen, left=still_open(), error=seen.error.replace("it doesn't stop", "")))
        sys.stdout.flush()
        os._exit(0)


def _speaker(bot: Any) -> Any:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        plugin = bot.plugin_manager.get_plugin_obj_by_name("Speaker")
        if getattr(plugin, "is_activated", False):
            return plugin
        time.sleep(0.05)
    raise TimeoutError("the plugin isn't activated")


def _said(plugin: Any, do: Callable[[Any], Any]) -> str:
    try:
        return repr(do(plugin))
    except Exception as problem:
        # The built-in class of the exception, which a plugin can catch on both bots.
        return f"raises {next(kind for kind in type(problem).__mro__ if kind.__module__ == 'builtins').__name__}"


def seen_by(python: str, tried: Tried, files: Path, on_errklein: bool) -> Seen:
    """Return the behaviour of the storage on a bot in its own process, and on a second one with the same database."""
    with tempfile.TemporaryDirectory(prefix="storages-") as scratch:
        first, second = (_run(python, tried, files, on_errklein, Path(scratch)) for _ in range(2))
    return replace(first, again=second)


def _run(python: str, tried: Tried, files: Path, on_errklein: bool, scratch: Path) -> Seen:
    result = scratch / "result.json"
    result.unlink(missing_ok=True)
    command = [python, str(HERE / "storages.py"), "--worker", "errklein" if on_errklein else "errbot"]
    command += ["--only", tried.title, str(files)]
    surroundings = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        finished = subprocess.run(
            command, cwd=scratch, capture_output=True, text=True, timeout=LIMIT, env=surroundings, check=False
        )
        lines = [line for line in finished.stderr.strip().splitlines() if line.strip()] or ["nothing"]
    except subprocess.TimeoutExpired:
        lines = [f"not finished after {LIMIT:.0f} s"]
    if not result.exists():
        return Seen(error=lines[-1])
    return Seen(**json.loads(result.read_text(encoding="utf-8")))


def row(tried: Tried, errbot: Seen, errklein: Seen) -> str:
    """Return a line of the table."""
    cells = [tried.title, tried.package, f"{_yes(errbot)} / {_yes(errklein)}"]
    for left, right in ((errbot, errklein), (errbot.again or Seen(), errklein.again or Seen())):
        asked = max(len(left.said), len(right.said))
        same = sum(one == other for one, other in zip(left.said, right.said, strict=False))
        cells.append(f"{same} of {asked}" if asked else "-")
    return "| " + " | ".join([*cells, f"{errbot.left or '-'} / {errklein.left or '-'}", tried.note]) + " |"


def _yes(seen: Seen) -> str:
    return "yes" if seen.opened else "no"


def differences(errbot: Seen, errklein: Seen) -> list[str]:
    """Return lines about errors, and about differences between the bots."""
    lines = [f"{name}: {seen.error}" for name, seen in (("errbot", errbot), ("errklein", errklein)) if seen.error]
    for left, right in zip(errbot.said, errklein.said, strict=False):
        if left != right:
            lines += [left[0], f"    errbot:   {left[1]}", f"    errklein: {right[1]}"]
    return lines


HEAD = """\
| storage | package | opened on errbot / errklein | same values | after a restart | after it stopped | |
|---|---|---|---|---|---|---|"""


def main() -> None:
    """Print the table, and the differences below it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path, help="where the packages are")
    parser.add_argument("--worker", choices=("errbot", "errklein"), help=argparse.SUPPRESS)
    parser.add_argument("--errbot", default=sys.executable, help="an interpreter that has errbot and the drivers")
    parser.add_argument(
        "--errklein", default=sys.executable, help="an interpreter that has errklein's needs and the drivers"
    )
    parser.add_argument("--only", default="", help="only storages with this in their title")
    options = parser.parse_args()
    if options.worker:
        (tried,) = [tried for tried in TRIED if tried.title == options.only]
        database = Path("database")
        database.mkdir(exist_ok=True)
        try_storage(tried, options.directory, options.worker == "errklein", database.resolve(), _written)
        return
    _compare(options, print)


def _written(seen: Seen) -> None:
    Path("result.json").write_text(json.dumps({**vars(seen), "again": None}), encoding="utf-8")


def _compare(options: argparse.Namespace, tell: Callable[[str], None]) -> None:
    tell(HEAD)
    below: list[str] = []
    for tried in TRIED:
        files = (options.directory / tried.directory).resolve()
        if options.only not in tried.title:
            continue
        errbot = seen_by(options.errbot, tried, files, on_errklein=False)
        errklein = seen_by(options.errklein, tried, files, on_errklein=True)
        tell(row(tried, errbot, errklein))
        below += [f"{tried.title}: {line}" for line in differences(errbot, errklein)]
        if errbot.again and errklein.again:
            below += [f"{tried.title}, again: {line}" for line in differences(errbot.again, errklein.again)]
    tell("")
    for line in below:
        tell(line)


if __name__ == "__main__":
    main()
