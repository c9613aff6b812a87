"""A real XMPP server: Prosody, with rooms, archives and files, and a certificate of an authority of its own."""

from __future__ import annotations

import datetime
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.server_program import ServerProgram, free_port

_CONFIGURATION = """
pidfile = "{folder}/pid"
data_path = "{folder}/data"
plugin_paths = {{}}
modules_enabled = {{ "disco", "roster", "saslauth", "tls", "ping", "smacks", "presence", "message", "iq", "offline", "c2s" }}
modules_disabled = {{ "s2s" }}
c2s_ports = {{ {port} }}
c2s_direct_tls_ports = {{ }}
interfaces = {{ "127.0.0.1" }}
http_ports = {{ {http_port} }}
http_interfaces = {{ "127.0.0.1" }}
https_ports = {{ }}
http_host = "127.0.0.1"
http_external_url = "http://127.0.0.1:{http_port}/"
authentication = "internal_plain"
storage = "internal"
default_archive_policy = true
c2s_require_encryption = true
limits = {{ }}
log = {{ {{ levels = {{ min = "debug" }}, to = "file", filename = "{folder}/log" }} }}
ssl = {{ key = "{folder}/key.pem", certificate = "{folder}/certificate.pem" }}
VirtualHost "localhost"
Component "conference.localhost" "muc"
    modules_enabled = {{ "muc_mam" }}
    muc_log_by_default = true
    muc_room_default_public_jids = true
    muc_room_default_persistent = true
    restrict_room_creation = false
Component "files.localhost" "http_file_share"
    http_file_share_access = {{ "localhost" }}
"""

_NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])


def make_certificates(folder: Path) -> None:
    """Write an authority's certificate, `ca.pem`, and that of a server called localhost with its key."""
    now = datetime.datetime.now(datetime.UTC)
    authority, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "errklein's tests")])
    made = {}
    for name, subject, public in (("ca", issuer, authority), ("certificate", _NAME, key)):
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(public.public_key())
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - datetime.timedelta(days=1))
        builder = builder.not_valid_after(now + datetime.timedelta(days=2))
        builder = builder.add_extension(x509.BasicConstraints(name == "ca", None), True)
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()), False
        )
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public.public_key()), False)
        if name == "ca":
            usage = dict.fromkeys(
                ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"), False
            )
            usage |= dict.fromkeys(("key_agreement", "encipher_only", "decipher_only"), False)
            builder = builder.add_extension(x509.KeyUsage(**usage, key_cert_sign=True, crl_sign=True), True)
        names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.DNSName("conference.localhost")])
        made[name] = (builder if name == "ca" else builder.add_extension(names, False)).sign(authority, hashes.SHA256())
    for name, certificate in made.items():
        (folder / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (folder / "key.pem").write_bytes(key.private_bytes(encoding, form, serialization.NoEncryption()))


class Prosody(ServerProgram):
    """A Prosody with accounts, whose passwords are `pw-NAME`."""

    def __init__(self, *people: str) -> None:
        super().__init__("prosody")
        self.http_port = free_port()
        make_certificates(self.directory)
        self.configuration = self.directory / "prosody.cfg.lua"
        configuration = _CONFIGURATION.format(folder=self.directory, port=self.port, http_port=self.http_port)
        self.configuration.write_text(configuration)
        accounts = self.directory / "data" / "localhost" / "accounts"
        accounts.mkdir(parents=True)
        for name in people:
            (accounts / f"{name}.dat").write_text(f'return {{ ["password"] = "pw-{name}"; }};\n')
        for path in (self.directory, *self.directory.rglob("*")):
            # It refuses to be root.
            path.chmod(0o777 if path.is_dir() else 0o666)

    def start(self) -> None:
        """Start the server, as nobody if the tests run as root."""
        other: dict[str, Any] = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.getuid() == 0 else {}
        command, silent = [self.program, *self.arguments()], subprocess.DEVNULL
        self.process = subprocess.Popen(command, stdout=silent, stderr=silent, cwd=self.directory, **other)

    @property
    def authority(self) -> Path:
        """The certificate of the server's authority."""
        return self.directory / "ca.pem"

    def arguments(self) -> Sequence[str]:
        """Return the arguments for running in the foreground with the configuration."""
        return "--config", str(self.configuration), "-F"
