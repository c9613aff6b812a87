"""Secrets by reference: where they are read from, and that they are masked."""

from __future__ import annotations

import os
import secrets
from base64 import b64encode
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from errklein.config import SecretError, read_secret
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
        self.assertEqual(read_secret("env:S", {"S": " a b\n"}), b" a b\n")
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
