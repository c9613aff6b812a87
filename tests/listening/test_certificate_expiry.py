"""Tests for warnings before certificates expire."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import Site

from errklein.listening import Listeners
from errklein.listening.tls import CertificateError, CertificateFiles, CertificateStore, generate_certificate
from tests.authority import issue


class ExpiryTests(SynchronousTestCase):
    """A certificate for 365 days, checked at several days."""

    def setUp(self) -> None:
        """Listen with a new certificate."""
        directory = Path(self.mktemp())
        directory.mkdir()
        self.key, self.certificate = directory / "key.pem", directory / "certificate.pem"
        self.renew()
        self.reactor = MemoryReactorClock()  # type: ignore[no-untyped-call]
        self.listeners = Listeners(self.reactor, Site(Resource()))  # type: ignore[no-untyped-call]
        self.successResultOf(self.listeners.open(f"ssl:0:privateKey={self.key}:certKey={self.certificate}"))
        self.day = datetime.now(UTC)
        self.warnings: list[str] = []
        self.known: set[object] = set()
        self.check(self.listeners)

    def check(self, listeners: Listeners) -> None:
        """Keep the warnings whose keys are new, as the notice board does."""
        for key, warning in listeners.expiry_warnings(self.day):
            if key not in self.known:
                self.known.add(key)
                self.warnings.append(warning)

    def renew(self) -> None:
        """Write a certificate whose validity begins today."""
        generate_certificate(["example.org"], self.key, self.certificate)

    def pass_days(self, days: float) -> None:
        """Let days pass."""
        self.day += timedelta(days=days)
        self.check(self.listeners)

    def test_warns_30_7_and_1_days_before(self) -> None:
        """Administrators get one warning at each stage, and one after the expiry."""
        self.pass_days(334)
        self.assertEqual(self.warnings, [])
        for days, said in (
            (2, "less than 30 days"),
            (23, "less than 7 days"),
            (5.5, "less than 1 day;"),
            (1, "expired"),
        ):
            for _ in range(4):
                self.pass_days(days / 4)
            self.assertEqual(len(self.warnings), 1, self.warnings)
            self.assertIn(said, self.warnings.pop())

    def test_a_new_certificate_ends_the_warnings(self) -> None:
        """After a renewal, warnings are about the new certificate."""
        self.pass_days(340)
        self.warnings.clear()
        self.renew()
        self.listeners.reload_certificates()
        self.day = datetime.now(UTC)
        self.pass_days(1)
        self.assertEqual(self.warnings, [])

    def test_each_certificate_of_a_directory(self) -> None:
        """Each certificate of a `tls:` endpoint has its warnings; expired ones are reported at the start."""
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        for name, days in (("a", 5.5), ("b", 90), ("c", -1), ("d", 20.5)):
            issued = issue(f"{name}.example.org", begins=-90, days=days)
            (directory / f"{name}.pem").write_bytes(issued.key_pem + issued.pem)
        listeners = Listeners(self.reactor, Site(Resource()))  # type: ignore[no-untyped-call]
        endpoint = f"tls:{directory}:8443"
        self.successResultOf(listeners.open(endpoint))
        self.addCleanup(listeners.close_all)
        self.check(listeners)
        self.assertEqual(len(self.warnings), 3, self.warnings)
        for warning, name, text in zip(
            self.warnings, ("a", "c", "d"), ("less than 7 days;", "has expired;", "less than 30 days;"), strict=True
        ):
            self.assertIn(f"{directory}/{name}.pem ({endpoint})", warning)
            self.assertIn(text, warning)

    def test_expired_certificate_cannot_be_used(self) -> None:
        """An endpoint with an expired certificate is an error that contains the date."""

        def later() -> datetime:
            return datetime.now(UTC) + timedelta(days=366)

        source = CertificateFiles(self.key, self.certificate)
        error = self.assertRaises(CertificateError, CertificateStore, source, later)
        self.assertIn("expired on", str(error))
