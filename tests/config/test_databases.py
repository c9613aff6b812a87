"""ERRKLEIN_DATABASE is checked, and its password isn't shown."""

from __future__ import annotations

from importlib.metadata import EntryPoint, EntryPoints

from twisted.trial.unittest import SynchronousTestCase

from errklein.compat.storages import check_storage
from errklein.config import ConfigError, databases, load_config
from errklein.config.databases import find_databases
from errklein.config.review import shown_value


class SettingTests(SynchronousTestCase):
    def refusal(self, **settings: object) -> str:
        """Return the error about these settings."""
        given = {"BACKEND": "Null", "BOT_ADMINS": ("@admin",), **settings}
        return str(self.assertRaises(ConfigError, lambda: check_storage(load_config(None, given))))

    def test_invalid(self) -> None:
        """Anything but a URL is an error, which hasn't the value: it may contain a password."""
        expected = "ERRKLEIN_DATABASE: expected a URL such as 'postgresql://errklein@db.example.net/errklein', not "
        self.assertEqual(self.refusal(ERRKLEIN_DATABASE="host=db password=hunter22"), f"{expected}another text")
        self.assertEqual(self.refusal(ERRKLEIN_DATABASE=b"hunter22"), f"{expected}a bytes")

    def test_shown_without_password(self) -> None:
        """`errklein config show` masks the password, in both places of a URL."""
        for url in ("postgresql://bot:hunter22@db/bot", "postgresql://bot@db/bot?password=hunter22"):
            shown = shown_value("ERRKLEIN_DATABASE", url)
            self.assertNotIn("hunter22", shown)
            self.assertIn("@db/bot", shown)

    def test_unknown(self) -> None:
        """An unknown scheme is an error with the known ones."""
        self.assertRegex(
            self.refusal(ERRKLEIN_DATABASE="mysql://db/bot"), "^ERRKLEIN_DATABASE: unknown database 'mysql'. Av"
        )

    def test_other_storage(self) -> None:
        """Values can't be in the database and in another storage."""
        self.add("there", "errklein.config")
        text = self.refusal(ERRKLEIN_DATABASE="there://db/bot", STORAGE="Memory")
        self.assertEqual(text, "STORAGE: expected 'Shelf', not 'Memory', since values are in ERRKLEIN_DATABASE")

    def test_missing_extra(self) -> None:
        """A library that is missing is an error with the extra that installs it."""
        self.add("gone", "errklein.no_such_module")
        text = self.refusal(ERRKLEIN_DATABASE="gone://db/bot")
        self.assertEqual(
            text,
            "ERRKLEIN_DATABASE: gone can't be used (No module named 'errklein.no_such_module'); "
            "install the extra errklein[no_such_module]",
        )

    def test_found_by_scheme(self) -> None:
        """The scheme of the address selects the entry point."""
        self.add("there", "errklein.config.databases:find_databases")
        self.assertIs(find_databases("there://db/bot"), find_databases)

    def add(self, name: str, value: str) -> None:
        """Let a distribution offer a database."""
        found = EntryPoints([EntryPoint(name, value, "errklein.databases")])
        self.patch(databases, "entry_points", lambda group: found)
