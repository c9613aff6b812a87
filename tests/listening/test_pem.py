"""Tests for keys and certificates in PEM files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein.listening.tls import CertificateError, PEMFile, identities, read_pem
from tests.authority import Authority, issue, serials

AUTHORITY = Authority()
BOT = AUTHORITY.issue("bot.example.org")
CHAIN = [BOT.certificate, AUTHORITY.intermediate.certificate, AUTHORITY.root.certificate]


class FileTests(SynchronousTestCase):
    """The content of files, and the matching of keys with certificates."""

    def setUp(self) -> None:
        """A directory."""
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()

    def write(self, name: str, contents: bytes) -> Path:
        """Write a file."""
        path = self.directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(contents)
        return path

    def test_order_in_a_file(self) -> None:
        """The server's certificate is the one that matches the key; those behind it are its chain, the others aren't."""
        for number, (parts, length) in enumerate(
            (
                ([BOT.key_pem, BOT.pem, AUTHORITY.intermediate.pem, AUTHORITY.root.pem], 3),
                ([BOT.pem, b"# a comment\r\n\r\n", AUTHORITY.intermediate.pem, BOT.key_pem, AUTHORITY.root.pem], 3),
                ([BOT.key_pem, AUTHORITY.root.pem, BOT.pem, AUTHORITY.intermediate.pem], 2),
                ([AUTHORITY.root.pem, AUTHORITY.intermediate.pem, BOT.pem, BOT.key_pem], 1),
            )
        ):
            path = self.write(f"{number}.pem", b"".join(parts).replace(b"\n", b"\r\n"))
            found, problems = identities([read_pem(path)])
            self.assertEqual(
                ([serials(identity.chain) for identity in found], problems), ([serials(CHAIN[:length])], {})
            )
            self.assertEqual(found[0].names, {"bot.example.org"})

    def test_kinds_of_keys(self) -> None:
        """RSA, EC and Ed25519 keys are read in the usual formats."""
        keys: list[Any] = [
            rsa.generate_private_key(65537, 2048),
            ec.generate_private_key(ec.SECP384R1()),
            ed25519.Ed25519PrivateKey.generate(),
        ]
        for key in keys:
            for kind in (PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL):
                if isinstance(key, ed25519.Ed25519PrivateKey) and kind is PrivateFormat.TraditionalOpenSSL:
                    continue
                written = key.private_bytes(Encoding.PEM, kind, NoEncryption())
                path = self.write("key.pem", written + issue("a.example", key=key).pem)
                [identity], _ = identities([read_pem(path)])
                self.assertEqual(identity.names, {"a.example"})

    def test_files_apart(self) -> None:
        """A key's certificate may be in another file; the nearest with the chain is used, as with certbot."""
        other = AUTHORITY.issue("bot.example.org", key=BOT.key, days=400)
        files = [
            self.write("bot/privkey.pem", BOT.key_pem),
            self.write("bot/cert.pem", BOT.pem),
            self.write("bot/chain.pem", AUTHORITY.intermediate.pem),
            self.write("bot/fullchain.pem", BOT.pem + AUTHORITY.intermediate.pem),
            self.write("old/cert.pem", other.pem),
        ]
        [identity], problems = identities([read_pem(path) for path in files])
        self.assertEqual((serials(identity.chain), problems), (serials(CHAIN[:2]), {}))
        self.assertEqual((identity.key_path, identity.path), (files[0], files[3]))

    def test_a_renewed_certificate_beside_the_old_one(self) -> None:
        """Of two certificates for a key, the one that expires last is used."""
        newer = AUTHORITY.issue("bot.example.org", key=BOT.key, days=400)
        [identity], _ = identities([read_pem(self.write("a.pem", BOT.key_pem + BOT.pem + newer.pem))])
        self.assertEqual(serials(identity.chain)[0], newer.certificate.serial_number)

    def test_a_key_without_a_certificate(self) -> None:
        """A key without a certificate is an error with its file."""
        path = self.write("key.pem", BOT.key_pem + CHAIN[1].public_bytes(Encoding.PEM))
        found, problems = identities([read_pem(path)])
        self.assertEqual(found, [])
        self.assertIn(f"{path} matches no certificate", problems[path])

    def test_unusable_files(self) -> None:
        """An unusable file is an error of one line with its path."""
        whole = AUTHORITY.bundle(BOT)
        broken = b"-----BEGIN %b-----\nAAAA\n-----END %b-----\n"
        old_style = BOT.key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, BestAvailableEncryption(b"x"))
        for contents, reason in (
            (whole[:-40], "incomplete"),
            (whole[:-9], "incomplete"),
            (whole[:100], "incomplete"),
            (b"-----BEGIN CERTIFI", "incomplete"),
            (broken % (b"CERTIFICATE", b"CERTIFICATE"), "contains an invalid certificate"),
            (broken % (b"PRIVATE KEY", b"PRIVATE KEY"), "contains an invalid private key"),
            (BOT.encrypted_key_pem, "passphrase"),
            (old_style, "passphrase"),
            (b"x" * 300_000, "larger than 256 kB"),
        ):
            path = self.write("a.pem", contents)
            error = str(self.assertRaises(CertificateError, read_pem, path))
            self.assertIn(reason, error)
            self.assertIn(str(path), error)
            self.assertNotIn("\n", error)
        for path, reason in ((self.directory / "missing", "No such file"), (self.directory, "not a regular file")):
            self.assertIn(reason, str(self.assertRaises(CertificateError, read_pem, path)))

    def test_a_pipe(self) -> None:
        """A pipe isn't read, since that would block the reactor."""
        path = self.directory / "a.pem"
        os.mkfifo(path)
        self.assertIn("not a regular file", str(self.assertRaises(CertificateError, read_pem, path)))

    def test_other_blocks(self) -> None:
        """Other PEM blocks are skipped."""
        path = self.write("a.pem", b"-----BEGIN DH PARAMETERS-----\nAAAA\n-----END DH PARAMETERS-----\n" + BOT.pem)
        self.assertEqual(read_pem(path), PEMFile(path, None, (BOT.certificate,)))

    @given(st.binary(max_size=100) | st.text(alphabet="-BEGINCERTFAKYV \n", max_size=100).map(str.encode))
    def test_no_bytes_do_harm(self, contents: bytes) -> None:
        """Any bytes are read or rejected."""
        try:
            read_pem(self.write("a.pem", contents))
        except CertificateError:
            pass
