"""Backups contain every value as data, and a damaged backup isn't used."""

from __future__ import annotations

import json
import os
import pickle
import stat
import tracemalloc
from collections import OrderedDict
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein.storage import (
    AdaptedStorage,
    MemoryStorage,
    SQLiteStorage,
    StorageError,
    UnreadableValue,
    UnstorableValue,
    _backup,
)
from errklein.storage._backup import BackupError, is_backup, read_backup, read_errbot_backup, write_backup
from errklein.storage._storages import Row, put_rows, rows_of
from errklein.storage.pickling import dumps
from tests.storage.hostile_pickles import hostile_pickles
from tests.storage.test_adapter import ShakyPlugin
from tests.storage.test_contract import ANY_TEXT

ANY_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | ANY_TEXT | st.binary() | st.datetimes(),
    lambda inner: st.lists(inner) | st.dictionaries(ANY_TEXT | st.integers(), inner) | st.tuples(inner, inner),
    max_leaves=10,
)
SOME_ROWS: list[Row] = [
    ("Greeter", "names", dumps(["alice", "bob"])),
    ("Greeter", "since", dumps(datetime(2020, 1, 1))),
    ("core", "configs", dumps({})),
]


class BackupCase(SynchronousTestCase):
    def setUp(self) -> None:
        """Create a directory for the backup."""
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.path = self.directory / "backup.jsonl"

    def lines(self) -> list[Any]:
        """Return the lines of the backup."""
        return [json.loads(line) for line in self.path.read_text().splitlines()]


class WriteTests(BackupCase):
    def test_format(self) -> None:
        """The file has a header, values as readable JSON where possible, and a checksum."""
        self.assertEqual(write_backup(self.path, SOME_ROWS, lambda: datetime(2026, 1, 31, tzinfo=UTC)), 3)
        header, names, since, configs, end = self.lines()
        self.assertEqual(
            (header["format"], header["version"], header["made"]), ("errklein backup", 1, "2026-01-31T00:00:00+00:00")
        )
        self.assertEqual(names, {"namespace": "Greeter", "key": "names", "json": ["alice", "bob"]})
        self.assertEqual(list(since), ["namespace", "key", "pickle"])
        self.assertEqual(configs["json"], {})
        self.assertEqual((end["end"], end["values"]), (True, 3))
        self.assertTrue(is_backup(self.path))

    def test_private(self) -> None:
        """Only the owner can read the file, whatever the umask is."""
        before = os.umask(0)
        self.addCleanup(os.umask, before)
        write_backup(self.path, SOME_ROWS)
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)

    def test_failure_keeps_the_old_one(self) -> None:
        """A backup that fails leaves the previous one unchanged, and no temporary file."""

        def rows() -> Iterator[Row]:
            yield SOME_ROWS[0]
            raise OSError(28, "No space left on device")

        write_backup(self.path, SOME_ROWS)
        before = self.path.read_bytes()
        error = self.assertRaises(BackupError, write_backup, self.path, rows())
        self.assertIn("No space left on device", str(error))
        self.assertEqual((self.path.read_bytes(), os.listdir(self.directory)), (before, ["backup.jsonl"]))
        missing = self.directory / "nowhere" / "backup.jsonl"
        self.assertIn("No such file", str(self.assertRaises(BackupError, write_backup, missing, [])))

    def test_exact(self) -> None:
        """A value that JSON can't represent exactly is restored exactly."""
        shared: list[Any] = [1]
        inner: list[Any] = []
        inner.append(inner)
        for value in (
            [shared, shared],
            (1,),
            {1: 2},
            OrderedDict(a=1),
            float("inf"),
            10**5000,
            "\ud83d\ude42",
            b"x",
            {1},
        ):
            write_backup(self.path, [("n", "k", dumps(value))])
            ((_, _, data),) = read_backup(self.path)
            read = pickle.loads(data)
            self.assertEqual((read, type(read)), (value, type(value)))
        write_backup(self.path, [("n", "k", dumps([shared, shared])), ("n", "l", dumps(inner))])
        (_, _, twice), (_, _, endless) = read_backup(self.path)
        first, second = pickle.loads(twice)
        self.assertIs(first, second)
        read = pickle.loads(endless)
        self.assertIs(read[0], read)

    def test_what_cannot_be_read_is_kept(self) -> None:
        """A value that can't be unpickled is in the backup with the same bytes."""
        rows: list[Row] = [("n", "a", b"nonsense"), ("n", "b", b"cgone\nThing\n)\x81.")]
        write_backup(self.path, rows)
        self.assertEqual(read_backup(self.path), rows)

    @settings(max_examples=40)
    @given(st.dictionaries(st.tuples(ANY_TEXT, ANY_TEXT), ANY_VALUE, max_size=5))
    def check_round_trip(self, values: dict[tuple[str, str], Any]) -> None:
        """Write the values and read them."""
        rows = [(namespace, key, dumps(value)) for (namespace, key), value in values.items()]
        self.assertEqual(write_backup(self.path, rows), len(rows))
        read = {(namespace, key): pickle.loads(data) for namespace, key, data in read_backup(self.path)}
        self.assertEqual((read, repr(read)), (values, repr(values)))

    def test_round_trip(self) -> None:
        """Any values under any names are restored unchanged."""
        self.check_round_trip()


class ReadTests(BackupCase):
    def check_refused(self, data: bytes, words: str) -> None:
        """Check that a file with these bytes is refused with a message of one line."""
        self.path.write_bytes(data)
        text = str(self.assertRaises(BackupError, read_backup, self.path))
        self.assertIn(words, text)
        self.assertIn("backup.jsonl", text)
        self.assertNotIn("\n", text)

    def test_cut_off(self) -> None:
        """A truncated backup is refused."""
        write_backup(self.path, SOME_ROWS)
        data = self.path.read_bytes()
        ends = [number for number, byte in enumerate(data) if byte == 10]
        for length in sorted({cut + offset for cut in [1, *ends] for offset in (-1, 0, 1)} - {len(data)}):
            self.path.write_bytes(data[:length])
            self.assertRaises(BackupError, read_backup, self.path)

    def test_changed(self) -> None:
        """A changed backup is refused."""
        write_backup(self.path, SOME_ROWS)
        data = self.path.read_bytes()
        self.check_refused(data.replace(b"alice", b"carol"), "was changed or is damaged")

    def test_nested(self) -> None:
        """A value that is too deeply nested is refused with a message of one line."""
        write_backup(self.path, [("a", "b", dumps(1))])
        lines = self.path.read_bytes().splitlines(keepends=True)
        refused = []
        for depth in (100, 900, 100_000):
            lines[1] = b'{"namespace": "a", "key": "b", "json": %b}\n' % (b"[" * depth + b"]" * depth)
            end = {"end": True, "values": 1, "sha256": sha256(b"".join(lines[:2])).hexdigest()}
            self.path.write_bytes(b"".join(lines[:2]) + json.dumps(end).encode() + b"\n")
            try:
                self.assertEqual(len(read_backup(self.path)), 1)
            except BackupError as error:
                self.assertIn("line 2: ", str(error))
                refused.append(depth)
        # How deep that is depends on Python's version.
        self.assertIn(refused, ([900, 100_000], [100_000]))

    def test_from_the_future(self) -> None:
        """The error about a backup of a newer version has the version."""
        self.check_refused(b'{"format": "errklein backup", "version": 2}\n', "version 2")
        self.check_refused(b'{"format": "errklein backup", "version": "%b"}\n' % (b"9" * 1000), "version '999")
        self.assertLess(len(str(self.assertRaises(BackupError, read_backup, self.path))), 600)

    def write(self, *lines: bytes) -> bytes:
        """Return a backup with these lines and a correct checksum."""
        begin = b"".join((b'{"format": "errklein backup", "version": 1}\n', *lines))
        end = {"end": True, "values": len(lines), "sha256": sha256(begin).hexdigest()}
        return begin + json.dumps(end).encode() + b"\n"

    def test_odd_values(self) -> None:
        """The error about an invalid value or a duplicate key has the line."""
        good = b'{"namespace": "A", "key": "k", "json": 1}\n'
        for namespace, key, value in (
            (b"5", b'"k"', b'"json": 1'),
            (b"{}", b'"k"', b'"json": 1'),
            (b'{"utf8": 5}', b'"k"', b'"json": 1'),
            (b'{"utf8": "/w=="}', b'"k"', b'"json": 1'),
            (b'"A"', b'["k"]', b'"json": 1'),
            (b'"A"', b'"k"', b'"other": 1'),
            (b'"A"', b'"k"', b'"pickle": {}'),
            (b'"A"', b'"k"', b'"pickle": "?"'),
        ):
            line = b'{"namespace": %b, "key": %b, %b}\n' % (namespace, key, value)
            self.check_refused(self.write(good, line), "line 3: invalid value")
        for line in (
            b"\n",
            b"[1]\n",
            b'{"namespace": "\0"}\n',
            b'{"namespace": "\xe9"}\n',
            b'{"json": %b}\n' % (b"9" * 9999),
        ):
            self.check_refused(self.write(good, line), "line 3: damaged backup")
        self.check_refused(self.write(good, good), "line 3: duplicate key 'k' in the namespace 'A'")

    def test_odd_names(self) -> None:
        """Any text is a valid namespace or key, even with NUL or a lone surrogate."""
        names = ("\0", "../../etc/passwd", "C:\\x", "\ud800", "")
        lines = [json.dumps({"namespace": name, "key": name, "json": name}).encode() + b"\n" for name in names]
        self.path.write_bytes(self.write(*lines))
        self.assertEqual([row[:2] for row in read_backup(self.path)], [(name, name) for name in names])

    def test_no_regular_file(self) -> None:
        """A pipe or a device is refused without reading it."""
        os.mkfifo(self.path)
        for path in (self.path, Path("/dev/zero"), self.directory):
            for read in (is_backup, read_backup, read_errbot_backup):
                self.assertIn("not a regular file", str(self.assertRaises(BackupError, read, path)))

    def test_nothing_but_ends_of_lines(self) -> None:
        """A hostile file of line ends takes no more memory than its size."""
        self.path.write_bytes(b'{"format": "errklein backup", "version": 1}\n' + b"\n" * 1_000_000)
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        self.assertRaises(BackupError, read_backup, self.path)
        self.assertLess(tracemalloc.get_traced_memory()[1], 5_000_000)

    def test_no_backup(self) -> None:
        """Files of other kinds are refused."""
        for data in (b"", b"{}", b"[]\n", b"nonsense", b"\xff\xfe"):
            self.check_refused(data, "is not an errklein backup")
        self.assertRaises(BackupError, read_backup, self.directory / "nowhere")
        self.assertRaises(BackupError, is_backup, self.directory / "nowhere")
        self.assertRaises(BackupError, read_backup, self.directory)


class TransferTests(BackupCase):
    def storages(self) -> list[Any]:
        """Return one storage of each kind; they are closed after the test."""
        made = [MemoryStorage(), SQLiteStorage(self.directory / "file"), AdaptedStorage("Shaky", ShakyPlugin().open)]
        for storage in made:
            self.addCleanup(storage.close)
        return made

    def test_out_and_in(self) -> None:
        """Values of each kind of storage can be copied into each other kind."""
        rows = sorted([("A", "x", dumps({"a": 1})), ("A", "y", dumps(None)), ("B", "x", dumps("z"))])
        for storage in self.storages():
            put_rows(storage, rows)
            self.assertEqual(list(rows_of(storage, ["B", "Empty"])), rows)
            put_rows(storage, [("A", "z", dumps(1))], ["A"])
            self.assertEqual([row[:2] for row in rows_of(storage)], [("A", "z"), ("B", "x")])

    def test_all_or_nothing(self) -> None:
        """An error while rows are stored leaves the database unchanged."""

        def rows() -> Iterator[Row]:
            yield "A", "x", dumps(2)
            raise RuntimeError("no more")

        storage = SQLiteStorage(self.directory / "file")
        self.addCleanup(storage.close)
        storage.put([("A", "x", dumps(1))])
        self.assertRaises(RuntimeError, storage.put, rows(), ["A"])
        self.assertEqual(list(storage.rows()), [("A", "x", dumps(1))])
        storage.open("A").set("x", 3)
        storage.close()
        self.assertRaises(StorageError, storage.put, [])

    def test_while_the_bot_works(self) -> None:
        """`rows` returns the state at one moment, and doesn't block writers."""
        storage = SQLiteStorage(self.directory / "file")
        self.addCleanup(storage.close)
        rows = [("A", str(number), dumps("x" * 10_000)) for number in range(100, 200)]
        storage.put(rows)
        taken = storage.rows()
        first = next(taken)
        storage.open("A").set("199", "new")
        storage.open("A").remove("198")
        self.assertEqual([first, *taken], rows)
        self.assertEqual(len(list(storage.rows())), 99)

    def test_damaged_file(self) -> None:
        """A damaged database is reported in one line, and no backup is written."""
        storage = SQLiteStorage(self.directory / "file")
        storage.put([("A", "x", b"x" * 100_000)])
        storage.close()
        data = bytearray((self.directory / "file").read_bytes())
        data[5000:60_000] = b"\xff" * 55_000
        (self.directory / "file").write_bytes(data)
        storage = SQLiteStorage(self.directory / "file")
        self.addCleanup(storage.close)
        self.assertIn("damaged", str(self.assertRaises(StorageError, write_backup, self.path, storage.rows())))
        self.assertFalse(self.path.exists())

    def test_values_that_are_none(self) -> None:
        """The error about a value that can't be pickled or unpickled has its key."""
        memory, _, third = self.storages()
        memory.open("A").set("x", lambda: 1)
        self.assertIn("'x'", str(self.assertRaises(UnstorableValue, list, rows_of(memory))))
        bad = [("A", "a", dumps(1)), ("A", "x", b"cgone\nThing\n)\x81.")]
        self.assertIn("'x'", str(self.assertRaises(UnreadableValue, put_rows, third, bad)))
        self.assertEqual(third.open("A").len(), 0)

    def test_hostile(self) -> None:
        """A pickle with forbidden names is never unpickled in any storage, unless the names are trusted."""
        ran = self.directory / "ran"
        for storage in self.storages():
            kept = isinstance(storage, SQLiteStorage)
            for hostile in hostile_pickles(ran):
                rows = [("A", "a", dumps(1)), ("A", "x", hostile.data)]
                if kept:
                    put_rows(storage, rows)
                    self.assertRaises(UnreadableValue, storage.open("A").get, "x")
                else:
                    self.assertRaises(UnreadableValue, put_rows, storage, rows)
                    self.assertEqual(storage.open("A").len(), 0)
            self.assertFalse(ran.exists())
            harmless = pickle.dumps([os.getcwd])
            put_rows(storage, [("B", "x", harmless)], trusted=[f"{os.getcwd.__module__}.getcwd"])
            self.assertEqual(storage.open("B").get("x"), [os.getcwd])


ERRBOT = """\
## This file is data here.

log.info("Restoring repo_manager.")
bot.repo_manager["installed_repos"] = {'a/b': '/data/plugins/a'}
log.info("Restoring plugin_manager.")
bot.plugin_manager["configs"] = {'Greeter': {'token': 'hello'}}
bot.plugin_manager["bl_plugins"] = ['VersionChecker']
log.info("Installing plugins.")
if "installed_repos" in bot.repo_manager:
  for repo in bot.repo_manager["installed_repos"]:
    log.error(bot.repo_manager.install_repo(repo))
log.info("Restoring plugins data.")
bot.plugin_manager.update_plugin_places(bot.repo_manager.get_all_repos_paths())
pobj = bot.plugin_manager.plugins["Greeter"]
pobj.init_storage()
pobj["thing"] = <errbot.plugins.greeter.Thing object at 0x7f96f410fcd0>
pobj["when"] = datetime.datetime(2020, 1, 1, 0, 0)
pobj["table"] = array([[1, 2],
       [3, 4]])
pobj["a] = b"] = {'x] = 1': "it's"}
pobj["s"] = {1, 2}
pobj.close_storage()
pobj = bot.plugin_manager.get_plugin_by_name("Older").plugin_object
pobj["é"] = None
"""


class ErrbotTests(BackupCase):
    def read(self, text: str) -> Any:
        """Return the content of a backup.py with this text."""
        path = self.directory / "backup.py"
        path.write_text(text, "utf-8")
        return read_errbot_backup(path)

    def test_literals(self) -> None:
        """All literal values are read, in the namespaces in which errbot stores them."""
        read = {(namespace, key): pickle.loads(data) for namespace, key, data in self.read(ERRBOT).rows}
        self.assertEqual(
            read,
            {
                ("repomgr", "installed_repos"): {"a/b": "/data/plugins/a"},
                ("core", "configs"): {"Greeter": {"token": "hello"}},
                ("core", "bl_plugins"): ["VersionChecker"],
                ("Greeter", "a] = b"): {"x] = 1": "it's"},
                ("Greeter", "s"): {1, 2},
                ("Older", "é"): None,
            },
        )

    def test_others_are_named(self) -> None:
        """Every other value is reported with its line."""
        problems = self.read(ERRBOT).problems
        self.assertEqual([problem.partition("backup.py, ")[2].partition(" is not a Python literal")[0] for problem in problems], [
            "line 16: Greeter: the value of 'thing'",
            "line 17: Greeter: the value of 'when'",
            "line 18: Greeter: the value of 'table'",
        ])  # fmt: skip

    def test_nested(self) -> None:
        """A statement that is too deeply nested is reported as an unexpected statement."""
        for statement in (f"pobj{'.a' * 900} = x['y']", f"pobj = {'-' * 90_000}1", f"pobj = x{'.a' * 900}"):
            (problem,) = self.read(f"# bot.plugin_manager\n{statement}\n").problems
            self.assertIn("line 2: unexpected statement 'pobj", problem)

    def test_nothing_is_run(self) -> None:
        """Code in the file is never executed."""
        ran = self.directory / "ran"
        code = f"open({str(ran)!r}, 'w')"
        read = self.read(
            f"bot.plugin_manager['configs'] = {code}\nimport os; {code}\nlog.info({code})\npobj = x[{code}]\n"
            f"pobj[{code}] = 1\nbot.other['x'] = 1\nexec({code!r})\n"
        )
        self.assertEqual((read.rows, ran.exists()), ([], False))
        lines = [problem.partition("backup.py, ")[2].partition(":")[0] for problem in read.problems]
        self.assertEqual(lines, ["line 1", "line 2", "line 4", "line 5", "line 6"])

    def test_whose_values(self) -> None:
        """Values after a statement that may name another plugin aren't assigned to the previous plugin."""
        for statement in (
            'pobj = x["it"s"]',
            f"pobj = x['{'y' * 20_000}']",
            "pobj = x['a', 'b']",
            "for pobj in x:\n  pass",
        ):
            read = self.read(f"pobj = bot.plugin_manager.plugins['A']\npobj['x'] = 1\n{statement}\npobj['x'] = 2\n")
            self.assertEqual([(*row[:2], pickle.loads(row[2])) for row in read.rows], [("A", "x", 1)])
            self.assertEqual(len(read.problems), 2)
        read = self.read("pobj = bot.plugin_manager.plugins['A']\npobj['x\"]' = 1\npobj.y = 2\npobj['z'] = 3\n")
        self.assertEqual(([row[:2] for row in read.rows], len(read.problems)), ([("A", "z")], 2))

    def test_nearly_values(self) -> None:
        """A statement that only resembles an assignment of a value is reported."""
        lines = (
            "pobj['x'] += 1",
            "pobj['x'] == 1",
            "pobj['x']['y'] = 1",
            "pobj[5] = 1",
            "pobj[b'x'] = 1",
            "bot['x'] = 1",
        )
        read = self.read("pobj = bot.plugin_manager.plugins['A']\n" + "\n".join(lines))
        self.assertEqual((read.rows, len(read.problems)), ([], len(lines)))

    def test_twice(self) -> None:
        """If a key is assigned twice, the later value counts."""
        rows = self.read("bot.plugin_manager['configs'] = {}\nbot.plugin_manager['configs'] = {'A': 1}\n").rows
        self.assertEqual(rows, [("core", "configs", dumps({"A": 1}))])

    def test_backslashes(self) -> None:
        """A key with a backslash, as errbot writes it, causes no Python warning."""
        read = self.read("bot.plugin_manager['a\\d'] = 1\n")
        self.assertEqual([row[1] for row in read.rows], ["a\\d"])
        self.assertEqual(self.flushWarnings(), [])

    def test_too_large(self) -> None:
        """A value with too many elements is reported and left out; others are read."""
        with mock.patch.object(_backup, "_MOST_PARTS", 10):
            read = self.read(f"bot.plugin_manager['a'] = {list(range(20))}\nbot.plugin_manager['b'] = {'x' * 20!r}\n")
        self.assertEqual([row[1] for row in read.rows], ["b"])
        self.assertIn("line 1: core: the value of 'a' has too many elements", read.problems[0])

    def test_nonsense(self) -> None:
        """A file with too many unexpected statements is refused, in a short time."""
        for nonsense in ("pobj\n" * 5000, "import os\n" * 5000):
            text = str(self.assertRaises(BackupError, self.read, f"# bot.plugin_manager\n{nonsense}"))
            self.assertIn("line 1002: more than 1000 unexpected statements", text)
        for begin in ("pobj[x", 'pobj["', "pobj['x' 'y'"):
            self.assertEqual(len(self.read(f"# bot.plugin_manager\n{begin}{'] = ' * 50_000}").problems), 1)

    def test_lines(self) -> None:
        """Problems have correct line numbers for all kinds of line ends."""
        for end in ("\n", "\r\n", "\n\n\n"):
            read = self.read(
                end.join(
                    ("# bot.plugin_manager", "bot.plugin_manager['a'] = x", "bot.plugin_manager['b'] = [", "  y]", "")
                )
            )
            numbers = [int(problem.partition("line ")[2].partition(":")[0]) for problem in read.problems]
            self.assertEqual(numbers, [1 + end.count("\n"), 1 + 2 * end.count("\n")])

    def test_no_backup(self) -> None:
        """A file of another kind is refused."""
        for text in ("", "BACKEND = 'Text'\n"):
            self.assertIn(
                "is neither an errklein backup nor an errbot backup",
                str(self.assertRaises(BackupError, self.read, text)),
            )
        path = self.directory / "backup.py"
        path.write_bytes(b"\xff")
        self.assertRaises(BackupError, read_errbot_backup, path)
        self.assertRaises(BackupError, read_errbot_backup, self.directory)

    @settings(max_examples=40)
    @given(st.dictionaries(st.text(min_size=1), st.recursive(st.text() | st.integers(), st.lists), max_size=4))
    def check_any(self, values: dict[str, Any]) -> None:
        """Write the values as errbot does, and read them."""
        lines = [f"pobj[{json.dumps(key, ensure_ascii=False)}] = {value!r}\n" for key, value in values.items()]
        read = self.read('pobj = bot.plugin_manager.plugins["X"]\n' + "".join(lines))
        self.assertEqual({key: pickle.loads(data) for _, key, data in read.rows}, values)
        self.assertEqual(read.problems, [])

    def test_any(self) -> None:
        """Any literals are read, whatever their strings contain."""
        self.check_any()
