"""Private keys and certificates in PEM files (RFC 7468), and the matching of keys with certificates."""

from __future__ import annotations

import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, partial
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

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

    def is_expired(self, now: datetime) -> bool:
        return self.expires <= now


def read_pem(path: Path) -> PEMFile:
    """Read the first private key and all certificates of a file. Other PEM blocks are skipped.

    :raises CertificateError: The file can't be read, is too large, or has an invalid key or certificate.
    """
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
    return PEMFile(path, _key_in(path, text), _certificates_in(path, text))


def _key_in(path: Path, text: bytes) -> PrivateKeyTypes | None:
    if b"PRIVATE KEY-----" not in text:
        return None
    try:
        # Validating an RSA key blocks the reactor for up to 0.3 s. Other servers don't validate keys either. The match with a
        # certificate is checked below.
        return load_pem_private_key(text, None, unsafe_skip_rsa_key_validation=True)
    except TypeError:
        reason = f"the private key in {path} has a passphrase; remove it, for example with 'openssl pkey'"
    except (ValueError, UnsupportedAlgorithm):
        reason = f"{path} contains an invalid private key"
    raise CertificateError(reason)


def _certificates_in(path: Path, text: bytes) -> tuple[x509.Certificate, ...]:
    if _CERTIFICATE.search(text) is None:
        return ()
    try:
        return tuple(x509.load_pem_x509_certificates(text))
    except ValueError:
        raise CertificateError(f"{path} contains an invalid certificate") from None


def identities(files: Sequence[PEMFile]) -> tuple[list[Identity], dict[Path, str]]:
    """Return each private key with its certificate chain, and an error by file for each key without a certificate. The
    chain is the key's certificate and all behind it in the same file. A key's certificate is searched in the key's
    file, then in the same directory, then in all files. Of several candidates at one of these places, the one that
    expires last is used, and of several copies, the one with the longest chain."""
    found = []
    problems = {}
    by_key: dict[bytes, list[tuple[Path, tuple[x509.Certificate, ...]]]] = {}
    for file in files:
        for number, certificate in enumerate(file.certificates):
            by_key.setdefault(_public_key(certificate), []).append((file.path, file.certificates[number:]))
    for file in files:
        if file.key is None:
            continue
        if candidates := by_key.get(_encode(file.key.public_key())):
            path, chain = max(candidates, key=partial(_preference, file.path))
            found.append(Identity(file.key, chain, file.path, path))
        else:
            problems[file.path] = f"the private key in {file.path} matches no certificate"
    return found, problems


def _preference(of_key: Path, candidate: tuple[Path, tuple[x509.Certificate, ...]]) -> tuple[object, ...]:
    path, chain = candidate
    return path == of_key, path.parent == of_key.parent, chain[0].not_valid_after_utc, len(chain)


def _public_key(certificate: x509.Certificate) -> bytes:
    """Return the public key in DER; empty if its type isn't supported."""
    try:
        return _encode(certificate.public_key())
    except (ValueError, UnsupportedAlgorithm):
        return b""


def _encode(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
