"""TLS endpoints, and private keys and certificates in PEM files (RFC 7468): selected by host name, reloaded, or self-signed."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from OpenSSL import SSL, crypto
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.ssl import AcceptableCiphers, CertificateOptions, TLSVersion
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

_CERTIFICATE = re.compile(rb"-----BEGIN (?:X509 )?CERTIFICATE-----")
_END = re.compile(rb"-----END [^-\r\n]+-----")
_LARGEST = 256 * 1024


class CertificateError(ValueError):
    """A key or certificate can't be used. `str()` is one line that names the file."""


@dataclass(frozen=True)
class PEMFile:
    """The first private key and the certificates of a file."""

    path: Path
    key: PrivateKeyTypes | None
    certificates: tuple[x509.Certificate, ...]


@dataclass(frozen=True, eq=False)
class Identity:
    """A private key with its certificate chain, the server's own certificate first."""

    key: PrivateKeyTypes
    chain: tuple[x509.Certificate, ...]
    key_path: Path
    path: Path  # the file with the server's certificate

    @cached_property
    def names(self) -> frozenset[str]:
        """The DNS names of the certificate (subjectAltName) in lower case; wildcards as `*.example.org`."""
        try:
            names = self.chain[0].extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except (x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType, ValueError):
            return frozenset()
        return frozenset(name.lower() for name in names.get_values_for_type(x509.DNSName))

    @property
    def expires(self) -> datetime:
        return self.chain[0].not_valid_after_utc

    def is_valid(self, now: datetime) -> bool:
        return self.chain[0].not_valid_before_utc <= now < self.expires


def read_pem(path: Path) -> PEMFile:
    """Read the first private key and all certificates of a file. Other PEM blocks are skipped. Raises CertificateError: the file
    can't be read, is too large, or has an invalid key or certificate."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise CertificateError(f"{path} is not a regular file")
        if status.st_size > _LARGEST:
            raise CertificateError(f"{path} is larger than {_LARGEST // 1024} kB")
        text = path.read_bytes()
    except OSError as error:
        raise CertificateError(f"{path} can't be read: {error.strerror}") from None
    # load_pem_x509_certificates ignores a block without an end.
    if text.count(b"-----BEGIN ") != len(_END.findall(text)):
        raise CertificateError(f"{path} is incomplete: a PEM block has no END line")
    key = _key_in(path, text)
    try:
        certificates = x509.load_pem_x509_certificates(text) if _CERTIFICATE.search(text) else ()
    except ValueError:
        raise CertificateError(f"{path} contains an invalid certificate") from None
    return PEMFile(path, key, tuple(certificates))


def _key_in(path: Path, text: bytes) -> PrivateKeyTypes | None:
    if b"PRIVATE KEY-----" not in text:
        return None
    try:
        # Validating an RSA key blocks the reactor for up to 0.3 s. Other servers don't validate keys either. The match with a
        # certificate is checked below.
        return serialization.load_pem_private_key(text, None, unsafe_skip_rsa_key_validation=True)
    except TypeError:
        reason = f"the private key in {path} has a passphrase; remove it, for example with 'openssl pkey'"
    except (ValueError, UnsupportedAlgorithm):
        reason = f"{path} contains an invalid private key"
    raise CertificateError(reason)


def identities(files: Sequence[PEMFile]) -> tuple[list[Identity], dict[Path, str]]:
    """Return each private key with its certificate chain, and an error by file for each key without a certificate. The chain is the
    key's certificate and all behind it in the same file. It is searched in the key's file, then in the same directory, then in all
    files. Of several candidates at one place, the one that expires last is used, and of copies, the one with the longest chain."""

    def preference(candidate: tuple[Path, tuple[x509.Certificate, ...]]) -> tuple[object, ...]:
        path, chain = candidate
        return path == file.path, path.parent == file.path.parent, chain[0].not_valid_after_utc, len(chain)

    found, problems = [], {}
    by_key: dict[bytes, list[tuple[Path, tuple[x509.Certificate, ...]]]] = {}
    for file in files:
        for number, certificate in enumerate(file.certificates):
            by_key.setdefault(_public_key(certificate), []).append((file.path, file.certificates[number:]))
    for file in files:
        if file.key is None:
            continue
        if candidates := by_key.get(_encode(file.key.public_key())):
            path, chain = max(candidates, key=preference)
            found.append(Identity(file.key, chain, file.path, path))
        else:
            problems[file.path] = f"the private key in {file.path} matches no certificate"
    return found, problems


def _public_key(certificate: x509.Certificate) -> bytes:
    """Return the public key in DER; empty if its type isn't supported."""
    with suppress(ValueError, UnsupportedAlgorithm):
        return _encode(certificate.public_key())
    return b""


def _encode(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


# Suites with forward secrecy and authenticated encryption, as RFC 9325, 4.2, recommends. TLS 1.3 has only such suites.
_CIPHERS = AcceptableCiphers.fromOpenSSLCipherString(
    "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256:"
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:"
    "ECDHE-RSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256"
)
_MOST_ENTRIES = 2000
_DEFAULT = "default.pem"

# Keys with their certificates, and an error in one line for each file that can't be used.
Loaded = tuple[list[Identity], dict[Path, str]]


@dataclass(frozen=True)
class CertificateFiles:
    """The files of a key, its certificate (`path`) and its chain. They may be the same file."""

    key: Path
    path: Path
    chain: Path | None = None

    def files(self) -> list[Path]:
        return list(dict.fromkeys(path for path in (self.key, self.path, self.chain) if path is not None))

    def load(self, files: list[Path]) -> Loaded:
        try:
            return [self._identity({path: read_pem(path) for path in files})], {}
        except CertificateError as error:
            return [], {self.path: str(error)}

    def _identity(self, read: dict[Path, PEMFile]) -> Identity:
        key, certificates = read[self.key].key, read[self.path].certificates
        if not certificates:
            raise CertificateError(f"{self.path} has no certificate in PEM format")
        if key is None:
            raise CertificateError(f"{self.key} has no private key in PEM format")
        if self.chain is not None:
            certificates += read[self.chain].certificates
        found, _ = identities([PEMFile(self.key, key, ()), PEMFile(self.path, None, certificates)])
        if not found:
            raise CertificateError(f"the private key in {self.key} doesn't match the certificate in {self.path}")
        return found[0]


@dataclass(frozen=True)
class CertificateDirectory:
    """All `.pem` files in the directory `path` and below, the layout of certbot and Kubernetes. A key and its certificate may be
    in different files; the chain is behind the certificate. Symbolic links are followed, names that begin with a dot are
    skipped."""

    path: Path

    def files(self) -> list[Path]:
        try:
            # Unreadable subdirectories are skipped.
            os.scandir(self.path).close()
            return sorted(self._walk())
        except OSError as error:
            raise CertificateError(f"the directory {self.path} can't be read: {error.strerror}") from None

    def _walk(self) -> Iterator[Path]:
        seen, entries = set(), 0
        for directory, directories, names in os.walk(self.path, followlinks=True):
            status = Path(directory).stat()
            # Symbolic links may form a cycle.
            if (inode := (status.st_dev, status.st_ino)) in seen:
                directories.clear()
                continue
            seen.add(inode)
            entries += len(directories) + len(names)
            if entries > _MOST_ENTRIES:
                raise CertificateError(f"the directory {self.path} has more than {_MOST_ENTRIES} entries")
            directories[:] = [name for name in directories if not name.startswith(".")]
            yield from (Path(directory, name) for name in names if name.endswith(".pem") and not name.startswith("."))

    def load(self, files: list[Path]) -> Loaded:
        read, problems = [], {}
        for path in files:
            try:
                read.append(read_pem(path))
            except CertificateError as error:
                problems[path] = str(error)
        found, unmatched = identities(read)
        return found, {**problems, **unmatched}


@implementer(IOpenSSLServerConnectionCreator)
class CertificateStore:
    """The certificates of an endpoint. A client gets the certificate with the requested name among its names (subjectAltName). An
    exact name takes precedence over a wildcard, which stands for one label. Of several certificates, those that are valid now take
    precedence, and of these the one that expires last. A client that requests no name, or an unknown one, gets the certificate in
    `default.pem`; without that file, the one in the first file by path. When files change, all certificates are replaced, or none:
    they stay in use while a file with one of their keys exists, but has no key with a certificate that can be used, as during a
    renewal, and if no certificate is left. At the beginning, CertificateError is raised if no certificate can be used, or all have
    expired."""

    def __init__(
        self, source: CertificateFiles | CertificateDirectory, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._source, self._now = source, now
        self._served: dict[Identity, CertificateOptions] = {}
        self._by_name: dict[str, Identity] = {}
        self._default: Identity | None = None
        self._seen: object = None
        self.problems = self.reload()  # the errors in the files when the store was created, in one line each
        if all(identity.expires <= now() for identity in self._served):
            reasons = "; ".join(self.problems[:3])
            raise CertificateError(reasons or f"{source.path} has no .pem file with a private key and its certificate")

    def serverConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        assert self._default is not None
        return self._served[self._default].serverConnectionForTLS(protocol)

    @property
    def expiries(self) -> list[tuple[Path, datetime]]:
        return [(identity.path, identity.expires) for identity in self._in_use()]

    def refresh(self) -> list[str] | None:
        """Read the files again if they have changed, and return the errors in them; None if nothing has changed."""
        if self._look()[1] == self._seen:
            # Time has passed: a certificate may have become valid or expired.
            self._arrange()
            return None
        return self.reload()

    def reload(self) -> list[str]:
        files, self._seen = self._look()
        found: list[Identity] = []
        if isinstance(files, CertificateError):
            problems = {self._source.path: str(files)}
        else:
            found, problems = self._source.load(files)
        now, served = self._now(), dict[Identity, CertificateOptions]()
        in_time = {one.key_path for one in self._served if one.expires > now}
        for identity in found:
            try:
                if identity.expires <= now and identity.key_path in in_time:
                    raise CertificateError(_expired(identity))
                served[identity] = self._options_for(identity)
            except CertificateError as error:
                problems[identity.path] = str(error)
        lost = {one.key_path for one in self._served} - {one.key_path for one in served}
        if served and not any(map(os.path.lexists, lost)):
            default = self._source.path / _DEFAULT
            self._served = dict(sorted(served.items(), key=lambda one: (one[0].path != default, one[0].path)))
        elif self._served:
            missing = "no longer contains a private key with its certificate"
            problems = problems or {path: f"{path} {missing}" for path in lost}
            kept = "the certificates that were read before stay in use"
            problems = {path: f"{line}; {kept}" for path, line in problems.items()}
        self._arrange()
        for identity in self._in_use():
            if identity.expires <= now:
                problems.setdefault(identity.path, _expired(identity))
        return list(problems.values())

    def _look(self) -> tuple[list[Path] | CertificateError, object]:
        """Return the files, or the error that prevents listing them, and a state that changes when the files do."""
        try:
            files = self._source.files()
        except CertificateError as error:
            return error, str(error)
        return files, [(path, _status(path)) for path in files]

    def _arrange(self) -> None:
        now = self._now()
        self._by_name = {}
        for identity in sorted(self._served, key=lambda one: (one.is_valid(now), one.expires), reverse=True):
            for name in identity.names:
                self._by_name.setdefault(name, identity)
        self._default = max(self._served, key=lambda one: (one.is_valid(now), one.expires > now), default=None)

    def _in_use(self) -> list[Identity]:
        chosen = {self._default, *self._by_name.values()}
        return [identity for identity in self._served if identity in chosen]

    def _context_for(self, name: bytes | None) -> SSL.Context | None:
        """Return the context for the name that a client requests; None selects the default. Twisted calls this."""
        wanted = (name or b"").decode("ascii", "replace").lower().rstrip(".")
        identity = self._by_name.get(wanted) or self._by_name.get(f"*.{wanted.partition('.')[2]}")
        return None if identity is None else self._served[identity].getContext()

    def _options_for(self, identity: Identity) -> CertificateOptions:
        """Return the options with an OpenSSL context for a key and its certificates. Raises CertificateError."""
        try:
            leaf, *issuers = [crypto.X509.from_cryptography(certificate) for certificate in identity.chain]
            options = CertificateOptions(
                privateKey=crypto.PKey.from_cryptography_key(identity.key),  # type: ignore[arg-type]
                certificate=leaf,
                extraCertChain=issuers,
                raiseMinimumTo=TLSVersion.TLSv1_2,
                acceptableCiphers=_CIPHERS,
                contextForServerName=self._context_for,
            )
            options.getContext()
        except (SSL.Error, crypto.Error) as error:
            # Its argument is a list of (library, function, reason).
            found = error.args[0] if error.args and isinstance(error.args[0], list) else []
            reasons = ", ".join(str(one[-1]) for one in found) or type(error).__name__
            raise CertificateError(f"OpenSSL can't use {identity.path}: {reasons}") from None
        except TypeError:
            text = f"the private key in {identity.key_path} has a type that TLS doesn't support; use RSA or EC"
            raise CertificateError(text) from None
        return options


def _expired(identity: Identity) -> str:
    return f"the certificate in {identity.path} expired on {identity.expires:%Y-%m-%d}"


def _status(path: Path) -> tuple[int, ...] | None:
    """Return the status of a file, which changes when the file or a link's target does; None if it doesn't exist."""
    with suppress(OSError):
        found = path.stat()
        return found.st_mode, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
    return None


def tls_endpoint(reactor: Any, kind: str, arguments: Mapping[str, str]) -> tuple[TCP4ServerEndpoint, CertificateStore]:
    """Return the endpoint and the certificates for an `ssl:` or `tls:` description. The arguments and their defaults are Twisted's.
    Relative paths are resolved against the current directory immediately. Raises ValueError, CertificateError among them."""
    left = {"backlog": "50", "interface": "", **arguments}
    source: CertificateDirectory | CertificateFiles
    if kind == "tls":
        if "path" not in left:
            example = "tls:path=/etc/errklein/tls:port=8443"
            raise ValueError(f"'path' is missing, the directory of the certificates, as in {example}")
        left = {"port": "443", **left, "interface": arguments.get("interface", "::")}
        source = CertificateDirectory(Path(left.pop("path")).absolute())
    else:
        if "port" not in left:
            raise ValueError("'port' is missing, as in ssl:port=8443:privateKey=/etc/errklein/server.pem")
        key = left.pop("privateKey", "server.pem")
        files = [key, left.pop("certKey", key), *([left.pop("extraCertChain")] if "extraCertChain" in left else ())]
        source = CertificateFiles(*(Path(file).absolute() for file in files))
    port, backlog, interface = int(left.pop("port")), int(left.pop("backlog")), left.pop("interface")
    if left:
        raise ValueError(f"{kind}: has no argument {min(left)}")
    return TCP4ServerEndpoint(reactor, port, backlog, interface), CertificateStore(source)


def generate_certificate(hosts: Sequence[str], key_path: Path, certificate_path: Path) -> None:
    """Write a new private key, which only the owner can read, and a self-signed certificate, which is valid for 365 days, for these
    host names and addresses of the server, and for localhost and its addresses. Existing files are replaced."""
    names: list[str] = list(dict.fromkeys((*hosts, "localhost", "127.0.0.1", "::1")))
    key = generate_private_key(SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=365))
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, SHA256())
    )
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    _write(key_path, key.private_bytes(pem, pkcs8, serialization.NoEncryption()), 0o600)
    _write(certificate_path, certificate.public_bytes(pem), 0o644)


def _general_name(host: str) -> x509.GeneralName:
    with suppress(ValueError):
        return x509.IPAddress(ip_address(host))
    return x509.DNSName(host)


def _write(path: Path, contents: bytes, mode: int) -> None:
    """Replace the file atomically, with the permissions `mode` from the beginning."""
    unfinished = path.with_name(f"{path.name}.new")
    unfinished.unlink(missing_ok=True)
    with open(unfinished, "xb", opener=partial(os.open, mode=mode)) as file:
        file.write(contents)
    unfinished.replace(path)
