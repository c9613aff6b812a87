"""`errklein backup --with-secrets` and `restore`: the secrets of webhooks that were made at run time."""

from __future__ import annotations

import json
import secrets
import shutil

from errklein.config import SecretError, SecretStore
from tests.cli.test_data import DataCase


class SecretsCase(DataCase):
    """A bot with a webhook and its signing secret."""

    def setUp(self) -> None:
        """Store them."""
        super().setUp()
        self.secret = secrets.token_hex(12)
        self.secrets = SecretStore.of(self.data)
        self.reference = self.secrets.write("github", self.secret)
        self.store("room webhooks", github={"version": 1, "secret": self.reference})
        self.copy = self.data / "backup.secrets.json"

    def lose_data(self) -> None:
        """Move everything to another machine, of which only the backup arrives."""
        for path in self.data.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif not path.name.startswith("backup."):
                path.unlink()


class BackupTests(SecretsCase):
    """The backup."""

    def test_backup_without_secrets(self) -> None:
        """Without the option, no file of the backup contains a secret; the webhook itself is a value like others."""
        self.assertEqual(self.run_command("backup"), 0)
        self.assertIn("backup.jsonl: 1 value\n", self.out.getvalue())
        self.assertFalse(self.copy.exists())
        self.assertNotIn(self.secret, (self.data / "backup.jsonl").read_text())
        self.assertIn(self.reference, (self.data / "backup.jsonl").read_text())

    def test_backup_with_secrets(self) -> None:
        """With the option, they are in a file that only the bot's user can read; the output has none of them."""
        self.assertEqual(self.run_command("backup", "--with-secrets"), 0)
        self.assertIn("backup.secrets.json: secrets of webhooks: 1\n", self.out.getvalue())
        self.assertNotIn(self.secret, self.out.getvalue())
        self.assertEqual(self.copy.stat().st_mode & 0o777, 0o600)
        self.assertEqual([*json.loads(self.copy.read_text())["secrets"]], self.secrets.names())
        self.assertNotIn(self.secret, (self.data / "backup.jsonl").read_text())

    def test_unsafe_file(self) -> None:
        """A secret that others can change is an error with the remedy, before anything is written."""
        (path,) = self.secrets.directory.iterdir()
        path.chmod(0o622)
        self.assertIn(f"run chmod go-w {path}", self.refused("backup", "--with-secrets"))
        self.assertFalse((self.data / "backup.jsonl").exists())


class RestoreTests(SecretsCase):
    """The restoration on a new machine."""

    def test_restore_with_secrets(self) -> None:
        """The webhook's reference leads to its secret again."""
        self.run_command("backup", "--with-secrets")
        self.lose_data()
        self.assertRaises(SecretError, self.secrets.read, self.reference)
        self.assertEqual(self.run_command("restore"), 0)
        self.assertIn("1 value restored from", self.out.getvalue())
        self.assertIn(f"secrets of webhooks restored from {self.copy}: 1\n", self.out.getvalue())
        self.assertEqual(self.secrets.read(self.reference), self.secret.encode())
        self.assertEqual(self.stored()["room webhooks", "github"]["secret"], self.reference)
        self.assertEqual(self.secrets.directory.stat().st_mode & 0o777, 0o700)

    def test_restore_without_secrets(self) -> None:
        """The values are restored alone."""
        self.run_command("backup")
        self.lose_data()
        self.assertEqual(self.run_command("restore"), 0)
        self.assertNotIn("secrets of webhooks", self.out.getvalue())
        self.assertEqual(self.stored()["room webhooks", "github"]["secret"], self.reference)
        self.assertEqual(self.secrets.names(), [])

    def test_secrets_of_an_earlier_backup(self) -> None:
        """A later backup of the values alone, such as a daily one, doesn't make the secrets useless."""
        self.run_command("backup", "--with-secrets")
        self.store("Greeter", count=1)
        self.run_command("backup")
        self.lose_data()
        self.assertEqual(self.run_command("restore"), 0)
        self.assertEqual(self.secrets.read(self.reference), self.secret.encode())
        self.assertEqual(len(self.stored()), 2)

    def test_damaged_file(self) -> None:
        """A damaged file, one of a newer version, and one with a path as a name are refused before anything is restored."""
        self.run_command("backup", "--with-secrets")
        self.lose_data()
        good = json.loads(self.copy.read_text())
        for content in ("{", "[]", json.dumps({**good, "version": 2}), json.dumps({**good, "secrets": ["x"]})):
            self.copy.write_text(content)
            self.assertIn("move it away to restore the values alone", self.refused("restore"))
        self.copy.write_text(json.dumps({**good, "secrets": {"../config": "eA=="}}))
        self.assertIn("invalid name of a stored secret", self.refused("restore"))
        self.assertEqual(self.stored(), {})
        self.assertFalse((self.data / "config").exists())

    def test_existing_secrets_stay(self) -> None:
        """With --force, secrets of the bot that have another name stay, too."""
        self.run_command("backup", "--with-secrets")
        other = self.secrets.write("gitlab", "another secret")
        self.assertEqual(self.run_command("restore", "--force"), 0)
        self.assertEqual(self.secrets.read(other), b"another secret")
        self.assertEqual(self.secrets.read(self.reference), self.secret.encode())
