"""The commands for the data of a stopped bot."""

from __future__ import annotations

import io
import os
import pickle
import shelve
import sqlite3
import sys
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from errklein import cli
from errklein.compat.storages import settle_shelves, shelves_to_import
from errklein.config import load_config
from errklein.service._data_directory import DataDirectory
from errklein.storage import MemoryStorage, SQLiteStorage, StorageError, settle
from errklein.storage._backup import write_backup
from errklein.storage._shelves import MARK
from tests.processes import ERRKLEIN, TWISTD, run, write_config, write_plugin
from tests.storage.hostile_pickles import hostile_pickles


class DataCase(SynchronousTestCase):
    def setUp(self) -> None:
        """Write a configuration with a data directory, and keep the output."""
        self.directory = Path(self.mktemp()).absolute()
        self.data = self.directory / "data"
        self.data.mkdir(parents=True)
        write_config(self.directory, {"BOT_EXTRA_PLUGIN_DIR": str(self.directory)})
        self.out, self.err = io.StringIO(), io.StringIO()
        self.patch(sys, "stdout", self.out)
        self.patch(sys, "stderr", self.err)

    def run_command(self, *arguments: str, stdin: str = "", config: str = "config.py") -> int:
        """Run the command with this configuration, and return the exit status."""
        self.patch(sys, "stdin", io.StringIO(stdin))
        return cli.main([*arguments, "--config", str(self.directory / config)])

    def refused(self, *arguments: str, stdin: str = "") -> str:
        """Run the command, and return the error, which is one line."""
        text = str(self.assertRaises(SystemExit, self.run_command, *arguments, stdin=stdin).code)
        self.assertTrue(text.startswith("errklein: "), text)
        self.assertNotIn("\n", text)
        return text

    def stored(self) -> dict[tuple[str, str], Any]:
        """Return the values that the bot has stored, by namespace and key."""
        with closing(SQLiteStorage(self.data / "errklein.sqlite")) as storage:
            return {
                (namespace, key): storage.open(namespace).get(key)
                for namespace, key, _ in storage.rows()
                if (namespace, key) != MARK
            }

    def store(self, namespace: str, **values: Any) -> None:
        """Store values as the bot does."""
        with closing(SQLiteStorage(self.data / "errklein.sqlite")) as storage:
            store = storage.open(namespace)
            for key, value in values.items():
                store.set(key, value)

    def write_shelf(self, namespace: str, **values: Any) -> None:
        """Store values in a shelf, as errbot does."""
        with shelve.open(str(self.data / f"{namespace}.db"), protocol=2) as shelf:
            shelf.update(values)


class ImportTests(DataCase):
    def test_import(self) -> None:
        """errbot's values are imported, and its files aren't changed."""
        self.write_shelf("Greeter", seen=datetime(2020, 1, 1), names=["a"])
        self.write_shelf("core", configs={"Greeter": {"token": "x"}})
        before = {path.name: path.read_bytes() for path in self.data.iterdir()}
        self.assertEqual(self.run_command("import-errbot"), 0)
        self.assertEqual(
            self.stored(),
            {
                ("Greeter", "names"): ["a"],
                ("Greeter", "seen"): datetime(2020, 1, 1),
                ("core", "configs"): {"Greeter": {"token": "x"}},
            },
        )
        self.assertEqual({name: (self.data / name).read_bytes() for name in before}, before)
        self.assertEqual(self.out.getvalue(), "Greeter: 2 values imported\ncore: 1 value imported\n")

    def test_again(self) -> None:
        """A second import changes nothing; with --force it replaces values, and writes a backup of them."""
        self.write_shelf("Greeter", names=["errbot"], old=1)
        self.run_command("import-errbot")
        self.store("Greeter", names=["errklein"], more=2)
        with closing(SQLiteStorage(self.data / "errklein.sqlite")) as storage:
            storage.open("Greeter").remove("old")
        before = self.stored()
        self.assertEqual(self.run_command("import-errbot"), 0)
        self.assertEqual(self.stored(), before)
        self.assertEqual(self.run_command("import-errbot", "--force"), 0)
        self.assertEqual(
            self.stored(), {("Greeter", "names"): ["errbot"], ("Greeter", "old"): 1, ("Greeter", "more"): 2}
        )
        self.run_command("restore", str(self.data / "before-import.jsonl"), "--force")
        self.assertEqual(self.stored()["Greeter", "names"], ["errklein"])

    def test_after_a_first_start(self) -> None:
        """Values stored by an earlier start of the bot don't prevent the import."""
        self.write_shelf("core", configs={"Greeter": 1})
        self.store("core", requirements={})
        self.run_command("import-errbot")
        self.assertEqual(self.stored()["core", "configs"], {"Greeter": 1})

    def test_missing_classes(self) -> None:
        """A value whose class no plugin defines is reported; one whose class exists isn't."""
        for name in ("There", "Gone"):
            # As pickle's protocol 2 writes an instance without attributes.
            with shelve.open(str(self.data / f"{name}.db")) as shelf:
                shelf.dict[b"thing"] = f"\x80\x02cerrbot.plugins.{name.lower()}\nThing\n)\x81.".encode("latin-1")
        write_plugin(self.directory, "There", "class Thing:\n    pass\n")
        self.assertEqual(self.run_command("import-errbot"), 0)
        told = self.out.getvalue()
        self.assertIn(
            "Gone: 'thing' is kept as it is, and can be read when the plugin defines errbot.plugins.gone.Thing", told
        )
        self.assertNotIn("There: 'thing' is kept", told)

    def test_damaged(self) -> None:
        """An unreadable shelf is reported, with exit status 1; the others are imported."""
        self.write_shelf("Greeter", names=["a"])
        (self.data / "Broken.db").write_text("nonsense")
        self.assertEqual(self.run_command("import-errbot"), 1)
        self.assertEqual(list(self.stored()), [("Greeter", "names")])
        [line] = self.err.getvalue().splitlines()
        self.assertTrue(line.startswith("errklein: Broken: "))

    def test_nothing_there(self) -> None:
        """A directory without shelves is an error, and nothing is created in it."""
        self.assertIn("no shelves", self.refused("import-errbot"))
        self.assertEqual(list(self.data.iterdir()), [])

    def test_odd_files(self) -> None:
        """A file that only looks like a shelf doesn't prevent the start, and control characters in its name are escaped."""
        with closing(sqlite3.connect(self.data / "x.db")) as connection:
            connection.execute("CREATE TABLE Dict (key, value)")
            connection.execute("INSERT INTO Dict VALUES (NULL, NULL)")
            connection.commit()
        (self.data / "e\nv\x1b[31m.db").write_text("nonsense")
        with closing(MemoryStorage()) as storage:
            hint = shelves_to_import(load_config(self.directory / "config.py"), storage)
        assert hint is not None
        self.assertIn("(e\\nv\\x1b[31m, x)", hint)
        self.assertEqual(self.run_command("import-errbot"), 1)
        self.assertEqual(len(self.err.getvalue().splitlines()), 2)
        self.assertNotIn("\x1b", self.err.getvalue())
        self.assertEqual(self.stored(), {})

    def test_shelves_to_import(self) -> None:
        """The hint names the exact command until it has been run, also if values are removed later."""
        config = load_config(self.directory / "config.py")
        with closing(MemoryStorage()) as storage:
            self.assertIsNone(shelves_to_import(config, storage))
            self.write_shelf("Greeter", names=["a"])
            line = shelves_to_import(config, storage)
            assert line is not None
            self.assertIn("(Greeter)", line)
            self.assertIn(f"`errklein import-errbot --config {self.directory / 'config.py'}`", line)
            self.assertIn(f"--data-dir {self.data}`", shelves_to_import(config, storage, "data") or "")
            built_in = load_config(None, {"BOT_DATA_DIR": str(self.data)})
            self.assertIn(
                f"`errklein import-errbot --data-dir {self.data}`", shelves_to_import(built_in, storage) or ""
            )
        self.run_command("import-errbot")
        with closing(SQLiteStorage(self.data / "errklein.sqlite")) as file:
            file.open("Greeter").remove("names")
            self.assertIsNone(shelves_to_import(config, file))

    def test_left_behind(self) -> None:
        """A value that isn't imported, since the bot has another one, is reported with exit status 1 at each import."""
        self.write_shelf("Greeter", names=["errbot"], old=1)
        self.store("Greeter", names=[])
        for imported in (1, 0):
            self.assertEqual(self.run_command("import-errbot"), 1)
            self.assertIn(f"Greeter: {imported} value", self.out.getvalue())
            [line] = self.err.getvalue().splitlines()
            self.assertIn("Greeter: 'names' not imported from", line)
            self.err.truncate(self.err.seek(0))
        self.assertEqual(self.stored(), {("Greeter", "names"): [], ("Greeter", "old"): 1})
        self.assertEqual(self.run_command("import-errbot", "--force"), 0)
        self.assertEqual(self.stored(), {("Greeter", "names"): ["errbot"], ("Greeter", "old"): 1})

    def test_settled(self) -> None:
        """The bot doesn't start before the import without --no-import; later starts need no option."""
        config = load_config(self.directory / "config.py")
        self.write_shelf("Greeter", names=["a"])
        with closing(SQLiteStorage(self.data / "errklein.sqlite")) as storage:
            for _ in range(2):
                error = self.assertRaises(StorageError, settle_shelves, config, storage, None, no_import=False)
                self.assertIn("import-errbot", str(error))
                self.assertIn("--no-import", str(error))
            settle_shelves(config, storage, None, no_import=True)
            settle_shelves(config, storage, None, no_import=False)
            self.write_shelf("Another", names=["a"])
            settle_shelves(config, storage, None, no_import=False)
            self.assertIsNone(shelves_to_import(config, storage))

    def test_hostile(self) -> None:
        """Values that could run code are not imported and listed by name, unless --trust names them; no code is run."""
        write_plugin(self.directory, "Greeter", "import os\nraise SystemExit\n")
        ran = self.directory / "ran"
        attacks = {f"{number:02}": hostile for number, hostile in enumerate(hostile_pickles(ran))}
        with shelve.open(str(self.data / "Greeter.db")) as shelf:
            shelf["good"] = 1
            for key, hostile in attacks.items():
                shelf.dict[key.encode()] = hostile.data
            shelf.dict[b"os"] = b"cerrbot.plugins.greeter\nos.system\n(Vtrue\ntR."
        self.assertEqual(self.run_command("import-errbot"), 1)
        self.assertEqual(self.stored(), {("Greeter", "good"): 1})
        lines = {line.split("'")[1]: line for line in self.err.getvalue().splitlines()}
        self.assertEqual(sorted(lines), [*attacks, "os"])
        for key, hostile in attacks.items():
            for name in hostile.names:
                self.assertIn(f"--trust {name}", lines[key])
        self.assertIn("--trust errbot.plugins.greeter.os.system", lines["os"])
        self.assertEqual(self.run_command("import-errbot", "--trust", "builtins.type", "--trust", "pty.spawn"), 1)
        with closing(SQLiteStorage(self.data / "errklein.sqlite")) as storage:
            self.assertEqual(len(storage.open("Greeter").keys()), 3)
        self.assertFalse(ran.exists())


class MovingTests(DataCase):
    """The move from errbot, with real processes."""

    timeout = 240

    def test_from_errbot(self) -> None:
        """The bot names the import command; after the import its plugins have errbot's values."""
        write_plugin(
            self.directory,
            "Greeter",
            "from errbot import BotPlugin, botcmd\n\nclass Thing:\n    pass\n\nclass Greeter(BotPlugin):\n    @botcmd\n"
            "    def look(self, msg, args):\n        return f\"{type(self['thing']).__name__} of {self['thing'].a}\"\n",
        )
        with shelve.open(str(self.data / "Greeter.db")) as shelf:
            # As pickle's protocol 2 writes an instance with one attribute.
            shelf.dict[b"thing"] = b"\x80\x02cerrbot.plugins.greeter\nThing\n)\x81}X\x01\0\0\0aK\x05sb."
        command = ["import-errbot", "--config", str(self.directory / "config.py")]
        for start in (["-T"], ["run", "--network", "Text"]):
            before = run(ERRKLEIN, *start, cwd=self.directory, stdin="!look\n")
            self.assertEqual(before.returncode, 1, before.stdout)
            self.assertIn("were not imported (Greeter)", before.stderr)
            self.assertIn(f"`errklein {' '.join(command)}`", before.stderr)
        checked = run(ERRKLEIN, "check", cwd=self.directory)
        self.assertEqual(checked.returncode, 1)
        self.assertIn(f"`errklein {' '.join(command)}`", checked.stdout)
        imported = run(ERRKLEIN, *command, cwd=self.directory)
        self.assertEqual((imported.returncode, imported.stderr), (0, ""))
        after = run(ERRKLEIN, "-T", cwd=self.directory, stdin="!look\n!uptime\n")
        self.assertIn("Thing of 5", after.stdout, after.stderr)
        self.assertEqual(run(ERRKLEIN, "check", cwd=self.directory).returncode, 0)

    def test_without_import(self) -> None:
        """With --no-import the bot starts without errbot's values; later starts need no option."""
        self.write_shelf("Greeter", names=["a"])
        for options in (["--no-import"], []):
            started = run(ERRKLEIN, "run", "-n", "Text", *options, cwd=self.directory, stdin="!uptime\n")
            self.assertEqual(started.returncode, 0, started.stderr)
            self.assertIn("I've been up for", started.stdout)

    def test_daemon(self) -> None:
        """A daemon doesn't start before the import either, and the reason is shown on the terminal."""
        self.write_shelf("Greeter", names=["a"])
        started = run(TWISTD, "errklein", cwd=self.directory)
        self.assertEqual(started.returncode, 1)
        self.assertIn("errklein import-errbot --config", started.stdout + started.stderr)
        self.assertFalse((self.directory / "twistd.pid").exists())


class BackupTests(DataCase):
    def test_there_and_back(self) -> None:
        """A backup is restored into an empty bot, by default from the data directory."""
        self.store("Greeter", names=["a"], seen=datetime(2020, 1, 1))
        before = self.stored()
        self.assertEqual(self.run_command("backup"), 0)
        (self.data / "errklein.sqlite").unlink()
        self.assertEqual(self.run_command("restore"), 0)
        self.assertEqual(self.stored(), before)
        self.assertIn("2 values restored", self.out.getvalue())

    def test_after_a_first_start(self) -> None:
        """Values stored by an earlier start of the bot don't prevent a restore."""
        self.store("Greeter", names=["a"])
        self.run_command("backup")
        (self.data / "errklein.sqlite").unlink()
        self.store("repomgr", repo_index={})
        self.assertEqual(self.run_command("restore"), 0)
        self.assertEqual(self.stored()["Greeter", "names"], ["a"])

    def test_not_over_what_is_there(self) -> None:
        """A bot with values is not restored; with --force it is, and a backup of its values is written."""
        self.store("Greeter", names=["old"])
        self.run_command("backup")
        self.store("Greeter", names=["new"], more=1)
        self.assertIn("--force", self.refused("restore"))
        self.assertEqual(self.stored()["Greeter", "names"], ["new"])
        self.assertEqual(self.run_command("restore", "--force"), 0)
        self.assertEqual(self.stored(), {("Greeter", "names"): ["old"], ("Greeter", "more"): 1})
        self.run_command("restore", str(self.data / "before-restore.jsonl"), "--force")
        self.assertEqual(self.stored()["Greeter", "names"], ["new"])

    def test_errbots(self) -> None:
        """The data in errbot's backup.py is restored; the rest is reported with exit status 1."""
        (self.data / "backup.py").write_text(
            'bot.plugin_manager["configs"] = {"A": 1}\npobj = bot.plugin_manager.plugins["A"]\npobj["x"] = <A object>\n'
        )
        self.assertEqual(self.run_command("restore"), 1)
        self.assertEqual(self.stored(), {("core", "configs"): {"A": 1}})
        self.assertIn("backup.py, line 3: A: the value of 'x'", self.err.getvalue())

    def test_hostile(self) -> None:
        """A backup with invalid values of the bot itself, with a duplicate key, or cut off, changes nothing."""
        self.store("Greeter", names=["a"])
        before = self.stored()
        path = self.directory / "hostile.jsonl"
        good = ("Greeter", "names", pickle.dumps(["b"]))
        for namespace, key in (("core", "configs"), ("core", "bl_plugins"), ("repomgr", "installed_repos")):
            write_backup(path, [good, (namespace, key, pickle.dumps(5))])
            self.assertIn(
                f"{namespace}: the value of {key!r} can't be of type int",
                self.refused("restore", str(path), "--force"),
            )
        write_backup(path, [good, good])
        self.assertIn("duplicate key 'names'", self.refused("restore", str(path), "--force"))
        path.write_bytes(path.read_bytes()[:-5])
        self.assertIn("is incomplete", self.refused("restore", str(path), "--force"))
        path.unlink()
        os.mkfifo(path)
        self.assertIn("not a regular file", self.refused("restore", str(path), "--force"))
        self.assertEqual(self.stored(), before)

    def test_untrusted_names(self) -> None:
        """A backup with values that could run code is not restored, and their names are listed, unless --trust names them."""
        path = self.directory / "hostile.jsonl"
        ran = self.directory / "ran"
        self.store("Greeter", names=["a"])
        attacks = {f"{number:02}": hostile for number, hostile in enumerate(hostile_pickles(ran))}
        write_backup(path, [("Greeter", key, hostile.data) for key, hostile in attacks.items()])
        self.assertEqual(self.run_command("restore", str(path), "--force"), 1)
        lines = self.err.getvalue().splitlines()
        self.assertEqual(len(lines), len(attacks) + 1)
        for (key, hostile), line in zip(attacks.items(), lines, strict=False):
            self.assertIn(f"Greeter: {key!r} uses ", line)
            for name in hostile.names:
                self.assertIn(name, line)
        self.assertIn("nothing was restored", lines[-1])
        self.assertEqual(self.stored(), {("Greeter", "names"): ["a"]})
        write_backup(path, [("Greeter", "run", pickle.dumps(os.getcwd))])
        name = f"{os.getcwd.__module__}.getcwd"
        self.assertEqual(self.run_command("restore", str(path), "--force"), 1)
        self.assertEqual(self.run_command("restore", str(path), "--force", "--trust", name), 0)
        self.assertIs(self.stored()["Greeter", "run"], os.getcwd)
        self.assertFalse(ran.exists())
        for text in ("system", "os.", ".system"):
            self.assertEqual(self.assertRaises(SystemExit, self.run_command, "restore", "--trust", text).code, 2)

    def test_unreadable(self) -> None:
        """A damaged value, or one without its class, is restored unchanged and reported."""
        path = self.directory / "old.jsonl"
        rows = [("Gone", "a", b"cerrbot.plugins.gone\nThing\n)\x81."), ("Gone", "b", b"nonsense")]
        write_backup(path, rows)
        self.assertEqual(self.run_command("restore", str(path)), 0)
        self.assertIn("Gone: 'a' is kept as it is, and can be read when", self.out.getvalue())
        self.assertIn("Gone: 'b' is kept as it is, and can't be read", self.out.getvalue())
        with closing(SQLiteStorage(self.data / "errklein.sqlite")) as storage:
            self.assertEqual(list(storage.rows()), rows)

    def test_no_file(self) -> None:
        """A missing or invalid backup is an error of one line, and nothing is created."""
        self.assertIn("name the file", self.refused("restore"))
        self.assertIn(
            "is neither an errklein backup nor an errbot backup",
            self.refused("restore", str(self.directory / "config.py")),
        )
        self.assertIn("can't read the backup", self.refused("restore", str(self.directory / "nowhere")))
        self.assertEqual(list(self.data.iterdir()), [])


class StorageTests(DataCase):
    def test_get_and_set(self) -> None:
        """`set` accepts the output of `get`, and replaces all values."""
        self.store("Greeter", names=["a"], count=1)
        self.assertEqual(self.run_command("storage", "get", "Greeter"), 0)
        printed = self.out.getvalue()
        self.assertEqual(printed, "{'count': 1, 'names': ['a']}\n")
        self.store("Greeter", other=2)
        self.assertEqual(self.run_command("storage", "set", "Greeter", stdin=printed), 0)
        self.assertEqual(self.stored(), {("Greeter", "names"): ["a"], ("Greeter", "count"): 1})

    def test_get_state_of_a_network(self) -> None:
        """The tokens of a network's account are masked."""
        self.store("network:chat", login={"access_token": "syt_abcdef_123456"}, position="s72594_4483")
        self.assertEqual(self.run_command("storage", "get", "network:chat"), 0)
        self.assertEqual(self.out.getvalue(), "{'login': {'access_token': '•••'}, 'position': 's72594_4483'}\n")

    def test_get_unknown_namespace(self) -> None:
        """A name that no plugin has, and nothing is stored for, is an error with a suggestion."""
        self.assertIn("Namespaces with values: none", self.refused("storage", "get", "Typo"))
        self.store("Greeter", count=1)
        for name, meant in (("greter", "'Greeter'"), ("Backups", "'Backup'"), ("CORE", "'core'")):
            line = self.refused("storage", "get", name)
            self.assertIn(f"unknown namespace {name!r}; did you mean {meant}? Namespaces with values: Greeter", line)
        self.assertTrue(self.refused("storage", "get", "x").endswith("'x'. Namespaces with values: Greeter"))
        self.assertEqual(self.out.getvalue(), "")

    def test_before_the_import(self) -> None:
        """Before errbot's values are imported, reading and changing values is refused with the command that imports them."""
        self.write_shelf("Greeter", names=["errbot"])
        for words in (["get", "Greeter"], ["get", "--missing-ok", "Other"], ["set", "Greeter"], ["merge", "Greeter"]):
            line = self.refused("storage", *words, stdin="{'count': 1}")
            self.assertIn("has errbot values that were not imported (Greeter)", line)
            self.assertIn("errklein import-errbot", line)
        self.assertEqual(self.out.getvalue(), "")
        self.run_command("import-errbot")
        self.out.truncate(self.out.seek(0))
        self.assertEqual(self.run_command("storage", "get", "Greeter"), 0)
        self.assertEqual(self.out.getvalue(), "{'names': ['errbot']}\n")

    def test_get_without_values(self) -> None:
        """A plugin that has stored nothing has an empty dict; so has an unknown name with --missing-ok."""
        self.assertEqual(self.run_command("storage", "get", "Backup"), 0)
        self.assertEqual(self.run_command("storage", "get", "--missing-ok", "Typo"), 0)
        self.assertEqual(self.out.getvalue(), "{}\n{}\n")

    def test_merge(self) -> None:
        """`merge` adds values, and merges dicts with stored dicts."""
        self.store("core", configs={"A": 1, "B": 2}, bl_plugins=["C"])
        self.run_command("storage", "merge", "core", stdin="{'configs': {'B': 3, 'D': 4}, 'new': 5}")
        self.assertEqual(
            self.stored(),
            {("core", "configs"): {"A": 1, "B": 3, "D": 4}, ("core", "bl_plugins"): ["C"], ("core", "new"): 5},
        )

    def test_merge_with_any_value(self) -> None:
        """`merge` keeps all values of a stored dict, whatever their types: they are the bot's own."""
        self.store("Greeter", all={"run": os.getcwd})
        self.assertEqual(self.run_command("storage", "merge", "Greeter", stdin="{'all': {'a': 1}}"), 0)
        self.assertEqual(self.stored(), {("Greeter", "all"): {"run": os.getcwd, "a": 1}})

    def test_what_is_no_literal(self) -> None:
        """A value that isn't a literal is reported, with exit status 1."""
        self.store("Greeter", seen=datetime(2020, 1, 1), count=1)
        with closing(SQLiteStorage(self.data / "errklein.sqlite")) as storage:
            storage.put([("Greeter", "thing", b"cgone\nThing\n)\x81.")])
        self.assertEqual(self.run_command("storage", "get", "Greeter"), 1)
        self.assertEqual(self.out.getvalue(), "{'count': 1}\n")
        self.assertIn("'seen' isn't a Python literal", self.err.getvalue())
        self.assertIn("'thing' can't be read without its plugin", self.err.getvalue())

    def test_what_the_bot_cannot_use(self) -> None:
        """A value of the bot itself can't be replaced by one of another type, with which it couldn't start."""
        self.store("core", configs={"A": 1})
        for command in ("set", "merge"):
            self.assertIn("can't be of type list", self.refused("storage", command, "core", stdin="{'configs': ['A']}"))
        self.assertEqual(self.stored(), {("core", "configs"): {"A": 1}})

    def test_nonsense(self) -> None:
        """Input other than a dict of literals is an error of one line; nothing is changed or run."""
        self.store("Greeter", count=1)
        for text in ("", "{", "[1]", "{1: 2}", "{'a': open('x')}", "__import__('os').abort()", "(" * 1000):
            self.assertIn("Python dict", self.refused("storage", "set", "Greeter", stdin=text))
            self.assertIn("Python dict", self.refused("storage", "merge", "Greeter", stdin=text))
        self.assertEqual(self.stored(), {("Greeter", "count"): 1})


class RefusalTests(DataCase):
    COMMANDS = (("backup",), ("restore", "FILE"), ("import-errbot",), ("storage", "set", "A"), ("storage", "get", "A"))

    def check_all(self, words: str, commands: Sequence[tuple[str, ...]] = COMMANDS) -> None:
        """Check that each command fails with these words."""
        file = self.directory / "backup.py"
        file.write_text("bot.plugin_manager['a'] = 1\n")
        for command in commands:
            arguments = [str(file) if argument == "FILE" else argument for argument in command]
            self.assertIn(words, self.refused(*arguments, stdin="{}"), command)

    def test_while_the_bot_runs(self) -> None:
        """Commands that change values don't work while the bot runs; those that read them do."""
        self.write_shelf("A", a=1)
        self.store("A", b=2)
        with closing(SQLiteStorage(self.data / "errklein.sqlite")) as storage:
            settle(storage)
        running = DataDirectory(self.data)
        running.lock()
        self.addCleanup(running.unlock)
        self.check_all(f"process {os.getpid()}, uses it", self.COMMANDS[1:4])
        self.assertEqual((self.run_command("storage", "get", "A"), self.out.getvalue()), (0, "{'b': 2}\n"))
        self.assertEqual(self.run_command("backup"), 0)
        self.assertIn("backup.jsonl: 2 values\n", self.out.getvalue())

    def test_damaged_file(self) -> None:
        """A damaged storage file is an error of one line, and isn't changed."""
        self.write_shelf("A", a=1)
        (self.data / "errklein.sqlite").write_text("nonsense " * 1000)
        self.check_all("damaged or was not made by errklein")
        self.assertEqual((self.data / "errklein.sqlite").read_text(), "nonsense " * 1000)

    def test_missing_directory(self) -> None:
        """Commands for stored values don't create a missing data directory: the operator has probably forgotten --config."""
        missing = self.directory / "missing"
        write_config(self.directory, {"BOT_DATA_DIR": str(missing)})
        for command in ("backup", "storage get A", "storage set A", "storage merge A"):
            error = self.refused(*command.split(), stdin="{}")
            self.assertEqual(
                error,
                f"errklein: BOT_DATA_DIR {missing}: the directory doesn't exist; name the bot's configuration with --config",
            )
        self.assertFalse(missing.exists())

    def test_memory(self) -> None:
        """The commands require a storage that keeps values."""
        write_config(self.directory, {"STORAGE": "Memory"})
        self.check_all("Memory")

    def test_unknown_storage(self) -> None:
        """An unknown storage is an error that names it."""
        write_config(self.directory, {"STORAGE": "Redis"})
        self.check_all("Redis")

    def test_no_configuration(self) -> None:
        """A missing configuration is an error that names the file."""
        (self.directory / "config.py").unlink()
        self.check_all("config.py")
