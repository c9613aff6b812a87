"""Tests for generated certificates."""

from __future__ import annotations

import stat
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from twisted.trial.unittest import SynchronousTestCase

from errklein.listening.tls import CertificateError, CertificateFiles, CertificateStore, generate_certificate


class CertificateTests(SynchronousTestCase):
    """Keys and certificates in files."""

    def setUp(self) -> None:
        """A directory."""
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.key = self.directory / "key.pem"
        self.certificate = self.directory / "cert.pem"

    def test_generated(self) -> None:
        """A certificate is X.509 v3 with EC P-256, for 365 days, with all names; only its owner can read the key."""
        self.certificate.write_text("something older")
        generate_certificate(["bot.example.org", "192.0.2.7"], self.key, self.certificate)
        self.assertEqual(stat.S_IMODE(self.key.stat().st_mode), 0o600)
        loaded = x509.load_pem_x509_certificate(self.certificate.read_bytes())
        self.assertEqual(loaded.version, x509.Version.v3)
        names = loaded.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        self.assertEqual(names.get_values_for_type(x509.DNSName), ["bot.example.org", "localhost"])
        addresses = [ip_address("192.0.2.7"), ip_address("127.0.0.1"), ip_address("::1")]
        self.assertEqual(names.get_values_for_type(x509.IPAddress), addresses)
        left = loaded.not_valid_after_utc - datetime.now(UTC)
        self.assertEqual(left.days, 364)
        key = load_pem_private_key(self.key.read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        self.assertIsInstance(key.curve, ec.SECP256R1)
        self.assertEqual(key.public_key(), loaded.public_key())
        CertificateStore(CertificateFiles(self.key, self.certificate))

    def test_unusable(self) -> None:
        """An unusable file is an error of one line."""
        generate_certificate([], self.key, self.certificate)
        other_key, other = self.directory / "other-key.pem", self.directory / "other.pem"
        generate_certificate([], other_key, other)
        nonsense = self.directory / "nonsense.pem"
        nonsense.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        for key, certificate, word in (
            (self.key, self.directory / "missing", "can't be read"),
            (self.directory / "missing", self.certificate, "can't be read"),
            (self.key, self.key, "no certificate"),
            (self.certificate, self.certificate, "no private key"),
            (self.key, nonsense, "contains an invalid certificate"),
            (other_key, self.certificate, "doesn't match"),
        ):
            error = self.assertRaises(CertificateError, CertificateStore, CertificateFiles(key, certificate))
            self.assertIn(word, str(error))
            self.assertNotIn("\n", str(error))
