"""A real homeserver: Synapse with SQLite, in a virtualenv of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import unittest
from collections.abc import Sequence
from typing import Any

from twisted.internet.task import deferLater

from tests.server_program import ServerProgram

_MANY = {"per_second": 100_000, "burst_count": 100_000}

_NO_LIMITS: dict[str, Any] = {
    "rc_message": _MANY,
    "rc_registration": _MANY,
    "rc_login": {"address": _MANY, "account": _MANY, "failed_attempts": _MANY},
    "rc_joins": {"local": _MANY, "remote": _MANY},
    "rc_joins_per_room": _MANY,
    "rc_invites": {"per_room": _MANY, "per_user": _MANY, "per_issuer": _MANY},
    "rc_room_creation": _MANY,
    "rc_presence": {"per_user": _MANY},
}


class Synapse(ServerProgram):
    """A Synapse without accounts, where everybody may register. By default it has no limits of rates.

    The command `synapse_homeserver` must be in PATH; `pip install matrix-synapse` installs it. Its process needs about a second.
    """

    def __init__(self, **settings: Any) -> None:
        if shutil.which("synapse_homeserver") is None and not os.environ.get("CI"):
            raise unittest.SkipTest("synapse_homeserver is not in PATH; `pip install matrix-synapse` installs it")
        super().__init__("synapse_homeserver")
        self.url = f"http://127.0.0.1:{self.port}"
        folder = self.directory
        configuration = {
            "server_name": "localhost",
            "pid_file": f"{folder}/pid",
            "public_baseurl": self.url,
            "listeners": [
                {
                    "bind_addresses": ["127.0.0.1"],
                    "port": self.port,
                    "type": "http",
                    "tls": False,
                    "resources": [{"names": ["client"], "compress": False}],
                }
            ],
            "database": {"name": "sqlite3", "args": {"database": f"{folder}/db"}},
            "media_store_path": f"{folder}/media",
            "signing_key_path": f"{folder}/signing.key",
            "registration_shared_secret": "secret",
            "macaroon_secret_key": "secret",
            "form_secret": "secret",
            "report_stats": False,
            "enable_registration": True,
            "enable_registration_without_verification": True,
            "trusted_key_servers": [],
            "suppress_key_server_warning": True,
            "federation_domain_whitelist": [],
            "bcrypt_rounds": 4,
            **_NO_LIMITS,
            **settings,
        }
        # JSON is YAML.
        self.configuration.write_text(json.dumps(configuration))
        keys = [self.program, "--config-path", str(self.configuration), "--generate-keys"]
        subprocess.run(keys, check=True, capture_output=True, cwd=folder)

    def arguments(self) -> Sequence[str]:
        """Return the arguments for running in the foreground with the configuration."""
        return "--config-path", str(self.configuration)

    async def wait_until_up(self, reactor: object) -> None:
        """Wait, on a busy machine for up to a minute."""
        for _ in range(600):
            if self.is_up() or self.process is None or self.process.poll() is not None:
                break
            await deferLater(reactor, 0.1)
        await super().wait_until_up(reactor)
