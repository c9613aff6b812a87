"""Secrets by reference: where they are read from, and that they are masked."""

from __future__ import annotations

import os
import secrets
from base64 import b64encode
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from errklein.config import SecretError, SecretStore, read_secret
from errklein.text.masking import MASK, masker


class ReadSecretTests(SynchronousTestCase):
    """`read_secret` with each kind of reference."""

    def setUp(self) -> None:
        """Create a directory with a secret."""
        self.directory = Path(self.mktemp()).resolve()
        self.directory.mkdir()
        self.file = self.directory / "secret"
        self.secret = secrets.token_hex(8)
        self.file.write_text(f"{self.secret}\n")
        self.file.chmod(0o600)

    def error(self, reference: str, environment: dict[str, str] | None = None) -> str:
        """Return the text of the SecretError, which must name the reference and not the secret."""
        text = str(self.assertRaises(SecretError, read_secret, reference, environment or {}))
        self.assertTrue(text.startswith(f"{reference}: "), text)
        self.assertNotIn(self.secret, text)
        return text

    def test_environment(self) -> None:
        """A variable of the environment is read with its bytes unchanged; by default, of this process."""
        self.assertEqual(read_secret("env:S", {"S": " Qx7 v9k\n"}), b" Qx7 v9k\n")
        self.assertEqual(read_secret("env:S", {"S": os.fsdecode(b"\xff1234567")}), b"\xff1234567")
        os.environ["ERRKLEIN_TEST_SECRET"] = self.secret
        self.addCleanup(os.environ.pop, "ERRKLEIN_TEST_SECRET")
        self.assertEqual(read_secret("env:ERRKLEIN_TEST_SECRET"), self.secret.encode())

    def test_missing_variable(self) -> None:
        """A missing or empty variable is an error that names it."""
        for environment in ({}, {"S": ""}):
            self.assertEqual(
                self.error("env:S", environment),
                "env:S: the secret is missing or empty; set the variable S in the environment of errklein, and restart it",
            )

    def test_file(self) -> None:
        """One line end at the end of a file is removed."""
        for content, expected in ((b"abcdef", b"abcdef"), (b"abcdef\r\n", b"abcdef"), (b" abcdef\n\n", b" abcdef\n")):
            self.file.write_bytes(content)
            self.assertEqual(read_secret(f"file:{self.file}"), expected)

    def test_unusable_file(self) -> None:
        """A missing or empty file, a directory, a pipe and a large file are errors with the path."""
        reference = f"file:{self.file}"
        for content in (b"", b"\n"):
            self.file.write_bytes(content)
            self.assertIn(f"the secret is missing or empty; write the secret to {self.file}", self.error(reference))
        # No text of another test contains it: secrets are known until the process ends.
        self.file.write_text(self.secret * 4096 + "x")
        self.assertIn(f"{self.file} is larger than 64 KiB", self.error(reference))
        self.file.write_text(self.secret * 4096)
        self.assertEqual(len(read_secret(reference)), 65536)
        self.file.unlink()
        self.assertIn("missing", self.error(reference))
        os.mkfifo(self.file)
        self.assertIn("isn't a regular file", self.error(reference))
        self.assertIn("can't be read: Is a directory", self.error(f"file:{self.directory}"))
        self.assertIn("can't be read: Not a directory", self.error(f"file:{self.file}/x"))

    def test_permissions(self) -> None:
        """A file that others may write is an error with the remedy; one that others may read is not."""
        for mode in (0o620, 0o602):
            self.file.chmod(mode)
            self.assertIn(f"run chmod go-w {self.file}", self.error(f"file:{self.file}"))
        self.file.chmod(0o444)
        self.assertEqual(read_secret(f"file:{self.file}"), self.secret.encode())

    def test_credential(self) -> None:
        """A credential is a file in systemd's directory."""
        environment = {"CREDENTIALS_DIRECTORY": str(self.directory)}
        self.assertEqual(read_secret("credential:secret", environment), self.secret.encode())
        self.assertIn("LoadCredential=other:/path", self.error("credential:other", environment))
        error = self.error("credential:secret")
        self.assertIn("systemd has given no credentials; add LoadCredential=secret:/path to the unit", error)
        self.assertIn("`systemd-run --pipe --wait -p LoadCredential=secret:/path`", error)

    def test_value_instead_of_a_reference(self) -> None:
        """The value of a secret is an error, which doesn't repeat it."""
        text = str(self.assertRaises(SecretError, read_secret, self.secret))
        self.assertNotIn(self.secret, text)

    def test_masked(self) -> None:
        """Secrets that were read are masked in all texts, also in the Base64 of Basic authentication, and stay masked when they are replaced."""
        read = [secrets.token_urlsafe(12) for _ in range(2)]
        for secret in read:
            self.assertNotIn(MASK, masker(f"received {secret}"))
            read_secret("env:S", {"S": secret})
        for secret in read:
            basic = b64encode(b"user:" + secret.encode()).decode()
            for written in (secret, f"Basic {basic}", repr(secret), f"token {secret}!"):
                self.assertNotIn(written, masker(f"received {written} from x"))
                self.assertIn(MASK, masker(f"received {written} from x"))


class SecretStoreTests(SynchronousTestCase):
    """The secrets that the bot makes itself."""

    def setUp(self) -> None:
        """Create a store whose directory is missing."""
        self.store = SecretStore(Path(self.mktemp()).resolve())
        self.secret = secrets.token_hex(12)

    def test_written_secret(self) -> None:
        """A secret can be read by its reference; only the bot's user can read the file and list the directory."""
        reference = self.store.write("github", self.secret)
        self.assertRegex(reference, "^secret:github-[0-9a-f]{8}$")
        self.assertEqual(self.store.read(reference), self.secret.encode())
        self.assertEqual(self.store.names(), [reference.removeprefix("secret:")])
        self.assertEqual(self.store.directory.stat().st_mode & 0o777, 0o700)
        (path,) = self.store.directory.iterdir()
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)

    def test_new_name_for_each_secret(self) -> None:
        """A second secret of the same webhook doesn't replace the first one."""
        first, second = (self.store.write("github", secret) for secret in (self.secret, "other secret"))
        self.assertEqual(self.store.read(first), self.secret.encode())
        self.assertEqual(self.store.read(second), b"other secret")

    def test_other_references(self) -> None:
        """The store also reads the secrets of other references, and removes none of them."""
        self.patch(os, "environ", {"S": self.secret})
        self.assertEqual(self.store.read("env:S"), self.secret.encode())
        file = Path(self.mktemp()).resolve()
        file.write_text(self.secret)
        file.chmod(0o600)
        for reference in (f"file:{file}", f"secret:../{file.name}", ""):
            self.store.remove(reference)
        self.assertEqual(self.store.read(f"file:{file}"), self.secret.encode())

    def test_removed_secret(self) -> None:
        """Reading a removed secret is an error with the remedy; removing it twice is none."""
        reference = self.store.write("github", self.secret)
        self.store.remove(reference)
        self.store.remove(reference)
        text = str(self.assertRaises(SecretError, self.store.read, reference))
        self.assertTrue(text.startswith(f"{reference}: the secret is missing or empty; restore a backup"), text)
        self.assertEqual(self.store.names(), [])

    def test_without_a_store(self) -> None:
        """Where no bot is known, such a reference is an error that names others."""
        text = str(self.assertRaises(SecretError, read_secret, "secret:github-1234"))
        self.assertIn("name one as env:NAME or file:/path", text)

    def test_path_as_a_name(self) -> None:
        """A name can't leave the directory, neither in a reference nor in a backup, of which nothing is written then."""
        for name in ("../x", "a/b", ".x", "", "a\n", "x" * 101):
            self.assertRaises(SecretError, self.store.read, f"secret:{name}")
            self.assertRaises(SecretError, self.store.put, {"good": b"1", name: b"2"})
        self.assertEqual(self.store.names(), [])

    def test_restored_secrets(self) -> None:
        """The contents of one store are added to another one, in which existing files stay."""
        references = [self.store.write("github", secret) for secret in (self.secret, "other secret")]
        restored = SecretStore(Path(self.mktemp()).resolve())
        restored.put(self.store.contents())
        self.assertEqual([restored.read(one) for one in references], [self.secret.encode(), b"other secret"])
        (self.store.directory / "notes.txt").write_text("a file of somebody else")
        restored.put(self.store.contents())
        self.assertEqual(restored.names(), self.store.names())
        changed = dict.fromkeys(self.store.names(), b"changed")
        restored.put({**changed, "new": b"3"})
        self.assertEqual(restored.read("secret:new"), b"3")
        self.assertEqual(restored.read(references[0]), self.secret.encode())

    def test_unwritable_directory(self) -> None:
        """An error of the file system is a SecretError that names the directory, and leaves no part of a file."""
        self.store.directory.write_text("a file")
        text = str(self.assertRaises(SecretError, self.store.write, "github", self.secret))
        self.assertIn(f"can't be written to {self.store.directory}: ", text)
        self.assertNotIn(self.secret, text)

    def test_permissions(self) -> None:
        """A group may write the file, as in a volume of Kubernetes, but not everybody."""
        reference = self.store.write("github", self.secret)
        (path,) = self.store.directory.iterdir()
        path.chmod(0o660)
        self.assertEqual(self.store.read(reference), self.secret.encode())
        self.assertEqual(list(self.store.contents().values()), [self.secret.encode()])
        path.chmod(0o602)
        self.assertIn("run chmod go-w", str(self.assertRaises(SecretError, self.store.read, reference)))

    def test_unused_files(self) -> None:
        """Files that no reference names are removed only when they are old, unfinished ones too."""
        used, unused, recent = (self.store.write("github", self.secret) for _ in range(3))
        unfinished = self.store.directory / ".github-1.abcd"
        unfinished.write_text("")
        for path in self.store.directory.iterdir():
            if path.name != recent.removeprefix("secret:"):
                os.utime(path, (1000, 1000))
        self.store.remove_unused({used}, 2000)
        self.assertEqual(self.store.names(), sorted(one.removeprefix("secret:") for one in (used, recent)))
        self.assertFalse(unfinished.exists())
        self.assertRaises(SecretError, self.store.read, unused)

    def test_masked_by_form(self) -> None:
        """The bot's own tokens and secrets are masked unread; foreign secrets in the store once they are read."""
        for own in ("ekt" + "a2" * 13, "eks" + "z7" * 16):
            for text in (f"GET /hooks/{own}/slack", f"%2Fhooks%2F{own}", f"'{own}' in weeks"):
                self.assertNotIn(own[3:], masker(text))
        self.assertEqual(masker("six weeks for the projekt"), "six weeks for the projekt")
        reference = self.store.write("sentry", self.secret)
        self.store.read(reference)
        self.assertNotIn(self.secret, masker(f"received {self.secret}"))
