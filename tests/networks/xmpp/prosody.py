"""A real XMPP server: Prosody, with rooms, archives and files, and a certificate of an authority of its own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.authority import issue
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
    muc_room_default_history_length = 500
    muc_room_default_public_jids = true
    muc_room_default_persistent = true
    restrict_room_creation = false
Component "files.localhost" "http_file_share"
    http_file_share_access = {{ "localhost" }}
"""


class Prosody(ServerProgram):
    """A Prosody with accounts, whose passwords are `pw-NAME`."""

    def __init__(self, *people: str) -> None:
        super().__init__("prosody")
        self.http_port = free_port()
        issuer = issue(subject="errklein's tests", authority=True)
        issued = issue("localhost", "conference.localhost", issuer=issuer)
        for name, content in (("ca", issuer.pem), ("certificate", issued.pem), ("key", issued.key_pem)):
            (self.directory / f"{name}.pem").write_bytes(content)
        self.configuration = self.directory / "prosody.cfg.lua"
        configuration = _CONFIGURATION.format(folder=self.directory, port=self.port, http_port=self.http_port)
        self.configuration.write_text(configuration)
        self._accounts = self.directory / "data" / "localhost" / "accounts"
        self._accounts.mkdir(parents=True)
        for name in people:
            self.set_password(name, f"pw-{name}")
        for path in (self.directory, *self.directory.rglob("*")):
            # It refuses to be root.
            path.chmod(0o777 if path.is_dir() else 0o666)

    def set_password(self, name: str, password: str) -> None:
        """Make an account, or change its password before a start."""
        (self._accounts / f"{name}.dat").write_text(f'return {{ ["password"] = "{password}"; }};\n')

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
