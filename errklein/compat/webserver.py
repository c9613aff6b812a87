"""What `errbot.core_plugins.webserver` offers besides the plugin."""

from __future__ import annotations

import socket
from pathlib import Path

from errklein.web.tls import generate_certificate


def make_ssl_certificate(key_path: str | Path, cert_path: str | Path) -> None:
    """Write a new key, and a certificate for this host and localhost that is signed by it."""
    generate_certificate([socket.gethostname()], Path(key_path), Path(cert_path))
