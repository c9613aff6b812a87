"""Tests for the selection of certificates by host name, and for changes of their files."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from twisted.trial.unittest import SynchronousTestCase

from errklein.listening.tls import CertificateDirectory, CertificateError, CertificateFiles, CertificateStore
from errklein.running import Runner
from errklein.testing._surroundings import InlinePool, TestReactor
from errklein.web import WebServer
from tests.authority import Authority, Issued, certificate_of, connect, issue

AUTHORITY = Authority()


class StoreCase(SynchronousTestCase):
    """Has a directory of certificates."""

    def setUp(self) -> None:
        """An empty directory; the day is today."""
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.day = datetime.now(UTC)

    def write(self, name: str, contents: bytes) -> Path:
        """Replace a file atomically."""
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(".new")
        new.write_bytes(contents)
        new.replace(path)
        return path

    def bundle(self, name: str, *names: str, **options: object) -> Issued:
        """Write a file with a key and its certificates for the names."""
        issued = AUTHORITY.issue(*names, **options)
        self.write(name, AUTHORITY.bundle(issued))
        return issued

    def store(self) -> CertificateStore:
        """Return a store of the directory."""
        return CertificateStore(CertificateDirectory(self.directory), lambda: self.day)

    def client(self) -> ssl.SSLContext:
        """Return a client that trusts the authority."""
        return AUTHORITY.client()

    def assert_served(self, store: CertificateStore, name: str | None, issued: Issued) -> None:
        """Fail unless a client that requests the name gets this certificate with a valid chain."""
        self.assertEqual(certificate_of(connect(store, self.client(), name)), issued.certificate)

    def assert_default(self, store: CertificateStore, name: str | None, issued: Issued) -> None:
        """Fail unless a client gets this certificate, which isn't for its name."""
        context = self.client()
        context.check_hostname = False
        self.assertEqual(certificate_of(connect(store, context, name)), issued.certificate)


class ChoiceTests(StoreCase):
    """The certificate that a client gets."""

    def test_by_name(self) -> None:
        """A client gets the certificate for the name that it requests, in any case, with a valid chain."""
        one = self.bundle("a.pem", "one.example.org", "uno.example.org")
        two = self.bundle("b.pem", "two.example.org")
        store = self.store()
        for name, issued in (
            ("one.example.org", one),
            ("uno.example.org", one),
            ("two.example.org", two),
            ("TWO.Example.ORG", two),
        ):
            self.assert_served(store, name, issued)
        self.assertEqual(store.problems, [])

    def test_wildcards(self) -> None:
        """An exact name takes precedence over a wildcard, which stands for one label."""
        wild = self.bundle("a.pem", "*.example.org")
        exact = self.bundle("b.pem", "bot.example.org")
        other = self.bundle("default.pem", "other.example.net")
        store = self.store()
        self.assert_served(store, "bot.example.org", exact)
        self.assert_served(store, "any.example.org", wild)
        for name in ("a.b.example.org", "example.org", "example.net"):
            self.assert_default(store, name, other)

    def test_clients_without_a_known_name(self) -> None:
        """A client without a known name gets `default.pem`, or else the first file by name."""
        first = self.bundle("b.pem", "b.example.org")
        self.bundle("c.pem", "c.example.org")
        store = self.store()
        self.assert_default(store, None, first)
        self.assert_default(store, "unknown.example.org", first)
        default = self.bundle("default.pem", "d.example.org")
        store = self.store()
        self.assert_default(store, None, default)
        self.assert_default(store, "unknown.example.org", default)

    def test_several_certificates_for_a_name(self) -> None:
        """Of several certificates for a name, the valid one that expires last is used."""
        self.bundle("a.pem", "bot.example.org", begins=-90, days=-1)
        self.bundle("b.pem", "bot.example.org", days=10)
        best = self.bundle("c.pem", "bot.example.org", days=60)
        self.bundle("d.pem", "bot.example.org", days=20)
        later = self.bundle("e.pem", "bot.example.org", begins=30, days=200)
        store = self.store()
        self.assert_served(store, "bot.example.org", best)
        self.day += timedelta(days=31)
        self.assertIsNone(store.refresh())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self.assertEqual(certificate_of(connect(store, context, "bot.example.org")), later.certificate)

    def test_a_certificate_without_names(self) -> None:
        """A certificate without names serves clients that request none."""
        issued = issue(issuer=AUTHORITY.intermediate, subject="bot.example.org")
        self.write("a.pem", AUTHORITY.bundle(issued))
        self.assert_default(self.store(), None, issued)

    def test_kinds_of_keys(self) -> None:
        """RSA, EC and Ed25519 certificates are served side by side."""
        issued = {
            "rsa": self.bundle("a.pem", "rsa.example.org", key=rsa.generate_private_key(65537, 2048)),
            "ec": self.bundle("b.pem", "ec.example.org"),
            "ed": self.bundle("c.pem", "ed.example.org", key=ed25519.Ed25519PrivateKey.generate()),
        }
        store = self.store()
        for name, certificate in issued.items():
            self.assert_served(store, f"{name}.example.org", certificate)

    def test_a_root_in_the_file(self) -> None:
        """A chain with its root, or a root alone, is served."""
        issued = AUTHORITY.issue("a.example.org")
        self.write("a.pem", AUTHORITY.bundle(issued, AUTHORITY.root))
        alone = issue("root.example.org", authority=True)
        self.write("c.pem", alone.key_pem + alone.pem)
        store = self.store()
        self.assert_served(store, "a.example.org", issued)
        trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        trusting.load_verify_locations(cadata=alone.pem.decode())
        self.assertEqual(certificate_of(connect(store, trusting, "root.example.org")), alone.certificate)

    def test_directories_below(self) -> None:
        """Subdirectories are read, also through links that form a cycle; hidden ones are not."""
        self.bundle("default.pem", "d.example.org")
        linked = Path(self.mktemp()).absolute()
        linked.mkdir()
        (self.directory / "live").mkdir()
        (self.directory / "live" / "bot").symlink_to(linked)
        (linked / "circle").symlink_to(self.directory)
        issued = AUTHORITY.issue("bot.example.org")
        (linked / "privkey.pem").write_bytes(issued.key_pem)
        (linked / "fullchain.pem").write_bytes(issued.pem + AUTHORITY.intermediate.pem)
        self.write(".hidden/a.pem", b"nonsense -----BEGIN")
        (linked / ".b.pem").write_bytes(b"-----BEGIN nonsense")
        (linked / "notes.txt").write_bytes(b"-----BEGIN nonsense")
        store = self.store()
        self.assert_served(store, "bot.example.org", issued)
        self.assertEqual(store.problems, [])

    def test_nothing_usable(self) -> None:
        """Without a usable certificate, the start fails with one line about the reason."""
        path = self.directory / "a.pem"
        issued = AUTHORITY.issue("bot.example.org")
        expired = AUTHORITY.issue("bot.example.org", begins=-90, days=-1)
        weak = AUTHORITY.issue("bot.example.org", key=rsa.generate_private_key(65537, 1024))
        for contents, reason in (
            (b"", "no .pem file with a private key and its certificate"),
            (AUTHORITY.root.pem, "no .pem file with a private key and its certificate"),
            (issued.key_pem, f"the private key in {path} matches no certificate"),
            (issued.key_pem + expired.pem, f"the private key in {path} matches no certificate"),
            (issued.encrypted_key_pem + issued.pem, "passphrase"),
            (AUTHORITY.bundle(issued)[:-30], "incomplete"),
            (AUTHORITY.bundle(expired), f"{path} expired on "),
            (AUTHORITY.bundle(weak), f"OpenSSL can't use {path}: ee key too small"),
        ):
            path.write_bytes(contents)
            error = str(self.assertRaises(CertificateError, self.store))
            self.assertIn(reason, error)
            self.assertNotIn("\n", error)
        path.unlink()
        self.assertIn(str(self.directory), str(self.assertRaises(CertificateError, self.store)))
        self.directory.rmdir()
        self.assertIn("can't be read: No such file", str(self.assertRaises(CertificateError, self.store)))
        self.directory.write_text("a file")
        self.assertIn("can't be read: Not a directory", str(self.assertRaises(CertificateError, self.store)))

    def test_something_usable_among_others(self) -> None:
        """A usable certificate is served, and each unusable file is reported."""
        good = self.bundle("b.pem", "bot.example.org")
        self.write("a.pem", b"-----BEGIN nonsense")
        self.write("c.pem", AUTHORITY.issue("c.example.org").key_pem)
        self.bundle("d.pem", "d.example.org", begins=-90, days=-1)
        store = self.store()
        self.assert_served(store, "bot.example.org", good)
        self.assert_default(store, None, good)
        self.assertEqual(len(store.problems), 3)
        for problem, name in zip(store.problems, ("a.pem", "c.pem", "d.pem"), strict=True):
            self.assertIn(str(self.directory / name), problem)


class HandshakeTests(StoreCase):
    """Ciphers, versions, protocols and sessions of the handshake."""

    def setUp(self) -> None:
        """Two certificates."""
        super().setUp()
        self.rsa = self.bundle("a.pem", "a.example.org", key=rsa.generate_private_key(65537, 2048))
        self.ec = self.bundle("b.pem", "b.example.org")
        self.certificates = self.store()

    def connect(self, change: Callable[[ssl.SSLContext], object], name: str = "a.example.org") -> ssl.SSLObject:
        """Connect with a client that has other TLS settings."""
        context = self.client()
        change(context)
        return connect(self.certificates, context, name).handshake()

    def test_ciphers(self) -> None:
        """Only suites with forward secrecy and authenticated encryption are accepted."""

        def only(ciphers: str) -> Callable[[ssl.SSLContext], object]:
            def change(context: ssl.SSLContext) -> None:
                context.maximum_version = ssl.TLSVersion.TLSv1_2
                context.set_ciphers(f"{ciphers}:@SECLEVEL=0")

            return change

        for name in ("a.example.org", "b.example.org", "unknown.example.org"):
            for ciphers in (
                "ECDHE-RSA-AES256-SHA384:ECDHE-ECDSA-AES256-SHA384",
                "AES128-SHA:AES256-GCM-SHA384",
                "ECDHE+SHA",
            ):
                self.assertRaises(ssl.SSLError, self.connect, only(ciphers), name)
        self.assertEqual(self.connect(only("ECDHE+AESGCM")).version(), "TLSv1.2")

    def test_versions(self) -> None:
        """TLS 1.2 and 1.3 are accepted, and older versions rejected."""

        def old(context: ssl.SSLContext) -> None:
            context.set_ciphers("ALL:@SECLEVEL=0")
            context.minimum_version = ssl.TLSVersion.TLSv1
            context.maximum_version = ssl.TLSVersion.TLSv1_1

        self.assertRaises(ssl.SSLError, self.connect, old)
        self.assertEqual(self.connect(lambda context: None).version(), "TLSv1.3")

    def test_alpn(self) -> None:
        """HTTP/1.1 is negotiated with each certificate."""
        clock = TestReactor()
        site = WebServer(clock, Runner(clock, InlinePool(clock, "test", 1))).site
        self.addCleanup(site.sweeper.stop)
        for name in ("a.example.org", "b.example.org"):
            context = self.client()
            context.set_alpn_protocols(["h2", "http/1.1"])
            client = connect(self.certificates, context, name, factory=site).handshake()
            self.assertEqual(client.selected_alpn_protocol(), "http/1.1")

    def test_sessions_are_not_resumed(self) -> None:
        """A session isn't resumed under another name or with a replaced certificate."""
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = self.client()
            context.maximum_version = version
            pair = connect(self.certificates, context, "a.example.org")
            first = pair.handshake()
            self.assertEqual(pair.echo(b"hello"), b"hello")
            other = connect(self.certificates, context, "b.example.org", session=first.session)
            self.assertEqual(certificate_of(other), self.ec.certificate)
            self.assertFalse(other.client.session_reused)

    def test_odd_names(self) -> None:
        """A client that requests an invalid name gets the default certificate."""
        context = self.client()
        context.check_hostname = False
        for name in ("a" * 250, "*.example.org", "..", "xn--", "a_b", "127.0.0.1"):
            try:
                pair = connect(self.certificates, context, name)
            except ValueError:
                # The client's own library has refused it.
                continue
            self.assertEqual(certificate_of(pair), self.rsa.certificate)


class RenewalTests(StoreCase):
    """Changes of files that are in use."""

    def setUp(self) -> None:
        """Two certificates in use."""
        super().setUp()
        self.one = self.bundle("one.pem", "one.example.org")
        self.two = self.bundle("two.pem", "two.example.org")
        self.certificates = self.store()

    def refresh(self) -> list[str] | None:
        """Check for changes."""
        return self.certificates.refresh()

    def test_no_change(self) -> None:
        """Unchanged files aren't read again."""
        self.assertIsNone(self.refresh())

    def test_a_renewed_file(self) -> None:
        """A replaced or overwritten file is served, and the other certificate stays."""
        renewed = self.bundle("one.pem", "one.example.org")
        self.assertEqual(self.refresh(), [])
        self.assert_served(self.certificates, "one.example.org", renewed)
        self.assert_served(self.certificates, "two.example.org", self.two)
        again = AUTHORITY.issue("one.example.org")
        (self.directory / "one.pem").write_bytes(AUTHORITY.bundle(again))
        self.assertEqual(self.refresh(), [])
        self.assert_served(self.certificates, "one.example.org", again)
        self.assertIsNone(self.refresh())

    def test_an_open_connection(self) -> None:
        """An open connection keeps its certificate."""
        pair = connect(self.certificates, self.client(), "one.example.org")
        pair.handshake()
        self.bundle("one.pem", "one.example.org")
        self.refresh()
        self.assertEqual(pair.echo(b"hello"), b"hello")

    def test_a_handshake_under_way(self) -> None:
        """A handshake that began before a renewal completes after it."""
        pair = connect(self.certificates, self.client(), "one.example.org")
        renewed = self.bundle("one.pem", "one.example.org")
        self.refresh()
        self.assertEqual(certificate_of(pair), renewed.certificate)

    def test_new_and_removed_files(self) -> None:
        """New files are served, and removed ones no longer."""
        three = self.bundle("three.pem", "three.example.org")
        self.assertEqual(self.refresh(), [])
        self.assert_served(self.certificates, "three.example.org", three)
        (self.directory / "two.pem").unlink()
        self.assertEqual(self.refresh(), [])
        self.assert_default(self.certificates, "two.example.org", self.one)
        self.assertEqual([path.name for path, _ in self.certificates.expiries], ["one.pem", "three.pem"])

    def test_new_names_in_a_file(self) -> None:
        """Names that a renewed certificate lacks are unknown."""
        renewed = self.bundle("two.pem", "zwei.example.org")
        self.refresh()
        self.assert_served(self.certificates, "zwei.example.org", renewed)
        self.assert_default(self.certificates, "two.example.org", self.one)

    def test_broken_renewals(self) -> None:
        """With a broken renewal, all old certificates stay in use, with one line in the log per change."""
        path = self.directory / "one.pem"
        other = AUTHORITY.issue("one.example.org")
        weak = AUTHORITY.issue("one.example.org", key=rsa.generate_private_key(65537, 1024))
        expired = AUTHORITY.issue("one.example.org", begins=-90, days=-1)
        for number, (contents, reason) in enumerate(
            (
                (b"", "no longer contains a private key with its certificate"),
                (AUTHORITY.bundle(other)[:-40], "incomplete"),
                (other.key_pem, "matches no certificate"),
                (other.key_pem + self.one.pem, "matches no certificate"),
                (other.pem, "no longer contains a private key with its certificate"),
                (other.encrypted_key_pem + other.pem, "passphrase"),
                (AUTHORITY.bundle(weak), "ee key too small"),
                (AUTHORITY.bundle(expired), "expired on"),
            )
        ):
            path.write_bytes(contents)
            two = self.bundle("two.pem", "two.example.org")
            problems = self.refresh()
            assert problems is not None
            [problem] = problems
            self.assertIn(reason, problem)
            self.assertIn(str(path), problem)
            self.assertIn("read before stay in use", problem)
            self.assertNotIn("\n", problem)
            self.assertIsNone(self.refresh())
            self.assert_served(self.certificates, "one.example.org", self.one)
            self.assert_served(self.certificates, "two.example.org", self.two)
            # After any change, each file that can't be used is logged.
            self.bundle("three.pem", f"three{number}.example.org")
            self.assertEqual(self.refresh(), [problem])
            self.assertEqual(self.certificates.reload(), [problem])
        path.write_bytes(AUTHORITY.bundle(other))
        self.assertEqual(self.refresh(), [])
        self.assert_served(self.certificates, "one.example.org", other)
        self.assert_served(self.certificates, "two.example.org", two)

    def test_links(self) -> None:
        """A link to another file is a change; a broken link is reported."""
        path = self.directory / "one.pem"
        store = Path(self.mktemp()).absolute()
        store.mkdir()
        (store / "1").write_bytes(path.read_bytes())
        renewed = AUTHORITY.issue("one.example.org")
        (store / "2").write_bytes(AUTHORITY.bundle(renewed))
        path.unlink()
        path.symlink_to(store / "1")
        self.assertEqual(self.refresh(), [])
        new = self.directory / ".new"
        new.symlink_to(store / "2")
        new.replace(path)
        self.assertEqual(self.refresh(), [])
        self.assert_served(self.certificates, "one.example.org", renewed)
        (store / "2").unlink()
        [problem] = self.refresh() or []
        self.assertIn("can't be read: No such file", problem)
        self.assert_served(self.certificates, "one.example.org", renewed)

    def test_certbot(self) -> None:
        """While certbot changes its links one by one, the old or the new certificate is in use."""
        old, renewed = AUTHORITY.issue("bot.example.org"), AUTHORITY.issue("bot.example.org")
        live = self.directory / "live" / "bot.example.org"
        live.mkdir(parents=True)
        archive = Path(self.mktemp()).absolute()
        archive.mkdir()
        for number, issued in enumerate((old, renewed), 1):
            (archive / f"privkey{number}.pem").write_bytes(issued.key_pem)
            (archive / f"cert{number}.pem").write_bytes(issued.pem)
            (archive / f"chain{number}.pem").write_bytes(AUTHORITY.intermediate.pem)
            (archive / f"fullchain{number}.pem").write_bytes(issued.pem + AUTHORITY.intermediate.pem)
        kinds = ("cert", "privkey", "chain", "fullchain")
        for kind in kinds:
            (live / f"{kind}.pem").symlink_to(archive / f"{kind}1.pem")
        self.assertEqual(self.refresh(), [])
        self.assert_served(self.certificates, "bot.example.org", old)
        for kind in kinds:
            (live / f"{kind}.pem").unlink()
            (live / f"{kind}.pem").symlink_to(archive / f"{kind}2.pem")
            self.refresh()
            # fullchain.pem is the last.
            context = self.client()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            served = certificate_of(connect(self.certificates, context, "bot.example.org"))
            self.assertIn(served, (old.certificate, renewed.certificate))
        self.assert_served(self.certificates, "bot.example.org", renewed)
        self.assertEqual(self.certificates.reload(), [])

    def test_kubernetes(self) -> None:
        """A renewal of a Kubernetes volume, which replaces the link `..data`, is served."""
        volume = Path(self.mktemp()).absolute()
        versions = [AUTHORITY.issue("pod.example.org") for _ in range(2)]
        for number, issued in enumerate(versions):
            (volume / f"..version{number}").mkdir(parents=True)
            (volume / f"..version{number}" / "bot.pem").write_bytes(AUTHORITY.bundle(issued))
        (volume / "..data").symlink_to("..version0")
        (volume / "bot.pem").symlink_to("..data/bot.pem")
        store = CertificateStore(CertificateDirectory(volume))
        self.assert_served(store, "pod.example.org", versions[0])
        (volume / "..data_tmp").symlink_to("..version1")
        (volume / "..data_tmp").replace(volume / "..data")
        self.assertEqual(store.refresh(), [])
        self.assert_served(store, "pod.example.org", versions[1])

    def test_the_directory_is_replaced(self) -> None:
        """While the directory is missing, its certificates stay in use; then the new ones are served."""
        away = self.directory.with_name("away")
        self.directory.rename(away)
        [problem] = self.refresh() or []
        self.assertIn(str(self.directory), problem)
        self.assertIn("stay in use", problem)
        self.assertIsNone(self.refresh())
        self.assert_served(self.certificates, "one.example.org", self.one)
        self.directory.mkdir()
        self.refresh()
        self.assert_served(self.certificates, "two.example.org", self.two)
        renewed = self.bundle("one.pem", "one.example.org")
        self.assertEqual(self.refresh(), [])
        self.assert_served(self.certificates, "one.example.org", renewed)
        self.assert_default(self.certificates, "two.example.org", renewed)

    def test_everything_is_removed(self) -> None:
        """If all files are removed, the last certificates stay in use."""
        for name in ("one.pem", "two.pem"):
            (self.directory / name).unlink()
        problems = self.refresh() or []
        self.assertEqual(len(problems), 2)
        self.assert_served(self.certificates, "one.example.org", self.one)

    def test_a_file_that_cannot_be_read(self) -> None:
        """If a file becomes unreadable, the old certificate stays in use."""
        path = self.directory / "one.pem"
        path.unlink()
        path.symlink_to(path)
        [problem] = self.refresh() or []
        self.assertIn("can't be read", problem)
        self.assert_served(self.certificates, "one.example.org", self.one)

    def test_many_entries(self) -> None:
        """A directory with too many entries is an error, since it would be read every 2 s."""
        for number in range(2001):
            (self.directory / str(number)).touch()
        [problem] = self.refresh() or []
        self.assertIn("more than 2000 entries", problem)

    def test_certificate_expiry(self) -> None:
        """The expiry of each certificate in use is known."""
        self.bundle("b.pem", "one.example.org", days=5)
        self.refresh()
        expiries = dict(self.certificates.expiries)
        self.assertEqual([path.name for path in expiries], ["b.pem", "one.pem", "two.pem"])
        default = self.bundle("default.pem", "one.example.org", days=7)
        self.refresh()
        expiries = dict(self.certificates.expiries)
        self.assertEqual([path.name for path in expiries], ["default.pem", "one.pem", "two.pem"])
        self.assertEqual(expiries[self.directory / "default.pem"], default.certificate.not_valid_after_utc)


class SeparateFilesTests(StoreCase):
    """A key, a certificate and a chain in separate files, as with `ssl:`."""

    def setUp(self) -> None:
        """Have them served."""
        super().setUp()
        self.issued = AUTHORITY.issue("bot.example.org")
        self.key = self.write("key", self.issued.key_pem)
        self.certificate = self.write("certificate", self.issued.pem)
        self.chain = self.write("chain", AUTHORITY.intermediate.pem + AUTHORITY.root.pem)
        source = CertificateFiles(self.key, self.certificate, self.chain)
        self.certificates = CertificateStore(source, lambda: self.day)

    def test_the_chain(self) -> None:
        """Clients can validate the chain, for each name of the certificate."""
        self.assert_served(self.certificates, "bot.example.org", self.issued)
        self.assert_default(self.certificates, None, self.issued)
        self.assert_default(self.certificates, "other.example.org", self.issued)

    def test_renewal(self) -> None:
        """The old certificate stays in use until both key and certificate are replaced."""
        renewed = AUTHORITY.issue("bot.example.org")
        self.write("key", renewed.key_pem)
        [problem] = self.certificates.refresh() or []
        self.assertIn("doesn't match", problem)
        self.assertIn("stay in use", problem)
        self.assert_served(self.certificates, "bot.example.org", self.issued)
        self.write("certificate", renewed.pem)
        self.assertEqual(self.certificates.refresh(), [])
        self.assert_served(self.certificates, "bot.example.org", renewed)
        os.unlink(self.key)
        [problem] = self.certificates.refresh() or []
        self.assertIn("No such file", problem)
        self.assert_served(self.certificates, "bot.example.org", renewed)
