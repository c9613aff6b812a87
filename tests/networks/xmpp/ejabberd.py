"""A real XMPP server that is slow to start: ejabberd, with a certificate of an authority of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import treq

from tests.authority import issue
from tests.server_program import ServerProgram, free_port


class Ejabberd(ServerProgram):
    """An ejabberd with accounts, whose passwords are `pw-NAME`. Its package makes the user ejabberd, as whom it runs."""

    def __init__(self, *people: str) -> None:
        super().__init__("ejabberdctl")
        self.people, self.http_port = people, free_port()
        folder = self.directory
        issuer = issue(subject="errklein's tests", authority=True)
        issued = issue("localhost", "conference.localhost", "upload.localhost", issuer=issuer)
        (folder / "ca.pem").write_bytes(issuer.pem)
        (folder / "certificate.pem").write_bytes(issued.key_pem + issued.pem)
        everybody: dict[str, Any] = {"allow": "all"}
        stream = {"port": self.port, "module": "ejabberd_c2s", "starttls": True, "starttls_required": True}
        handlers = {"/upload": "mod_http_upload", "/api": "mod_http_api"}
        web = {"port": self.http_port, "module": "ejabberd_http", "request_handlers": handlers}
        rooms = {"mam": True, "anonymous": False, "persistent": True}
        configuration = {
            "hosts": ["localhost"],
            "listen": [{"ip": "127.0.0.1", **one} for one in (stream, web)],
            "certfiles": [str(folder / "certificate.pem")],
            "ca_file": str(folder / "ca.pem"),
            "auth_method": "internal",
            "access_rules": {"local": everybody},
            "api_permissions": {"tests": {"from": "mod_http_api", "who": {"ip": "127.0.0.1/8"}, "what": "register"}},
            "acme": {"auto": False},
            "modules": {
                **{f"mod_{name}": {} for name in ("disco", "mam", "offline", "ping", "roster", "stream_mgmt")},
                "mod_muc": {"default_room_options": rooms, "min_message_interval": 0, "min_presence_interval": 0},
                "mod_http_upload": {
                    "put_url": f"http://127.0.0.1:{self.http_port}/upload",
                    "docroot": str(folder / "files"),
                },
            },
        }
        # JSON is YAML.
        self.configuration = folder / "ejabberd.yml"
        self.configuration.write_text(json.dumps(configuration))
        for name in ("spool", "logs", "files"):
            (folder / name).mkdir()
        for path in (folder, *folder.iterdir()):
            if os.getuid() == 0:
                shutil.chown(path, "ejabberd")

    @property
    def authority(self) -> Path:
        """The certificate of the server's authority."""
        return self.directory / "ca.pem"

    def arguments(self) -> Sequence[str]:
        """Return the arguments for running in the foreground with the configuration."""
        folder = str(self.directory)
        options = {"--node": f"errklein{self.port}@localhost", "--config-dir": folder, "--spool": f"{folder}/spool"}
        options |= {"--config": str(self.configuration), "--logs": f"{folder}/logs"}
        return *(text for option in options.items() for text in option), "foreground"

    def start(self) -> None:
        """Start the server, as its own user if the tests run as root."""
        other: dict[str, Any] = (
            {"user": "ejabberd", "group": "ejabberd", "extra_groups": []} if os.getuid() == 0 else {}
        )
        silent, home = subprocess.DEVNULL, {**os.environ, "HOME": str(self.directory)}
        self.process = subprocess.Popen(
            [self.program, *self.arguments()],
            stdout=silent,
            stderr=silent,
            cwd=self.directory,
            env=home,
            start_new_session=True,
            **other,
        )

    def kill(self) -> None:
        """Kill the script and the server."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    async def wait_until_up(self, reactor: object) -> None:
        """Wait, and make the accounts."""
        await super().wait_until_up(reactor)
        for name in self.people:
            account = {"user": name, "host": "localhost", "password": f"pw-{name}"}
            url = f"http://127.0.0.1:{self.http_port}/api/register"
            response = await treq.post(url, json=account, persistent=False)
            assert response.code in (200, 409), await response.text()
