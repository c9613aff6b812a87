"""ergo, an IRC server with accounts and a history that it replays."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from tests.server_program import ServerProgram

_CONFIGURATION = """\
network: {{name: ErgoTest}}
server:
    name: ergo.test
    listeners:
        "127.0.0.1:{port}": {{}}
    casemapping: ascii
    enforce-utf8: true
    max-sendq: 1M
    ip-limits: {{count: false, throttle: false}}
    ip-cloaking: {{enabled: false}}
accounts:
    authentication-enabled: true
    registration:
        enabled: true
        allow-before-connect: true
        bcrypt-cost: 4
        throttling: {{enabled: false}}
    login-throttling: {{enabled: false}}
    nick-reservation: {{enabled: true, method: strict, force-nick-equals-account: true}}
    multiclient: {{enabled: true, allowed-by-default: true, always-on: opt-out, auto-away: mandatory}}
channels:
    default-modes: +nt
    registration: {{enabled: true}}
datastore: {{path: "{directory}/ircd.db", autoupgrade: true}}
lock-file: "{directory}/ircd.lock"
languages: {{enabled: false, default: en}}
logging: [{{method: stderr, type: "*", level: error}}]
limits:
    nicklen: 32
    identlen: 20
    realnamelen: 150
    channellen: 64
    awaylen: 390
    kicklen: 390
    topiclen: 390
    chan-list-modes: 100
    registration-messages: 1024
fakelag: {{enabled: false}}
history:
    enabled: true
    channel-length: 2048
    client-length: 1024
    chathistory-maxmessages: 1000
    restrictions: {{expire-time: 1w, query-cutoff: none, grace-period: 1h}}
"""


class Ergo(ServerProgram):
    """An ergo with an empty database. Accounts stay online without a connection, marked as away, and miss nothing."""

    def __init__(self) -> None:
        super().__init__("ergochat")
        self.configuration.write_text(_CONFIGURATION.format(port=self.port, directory=self.directory))
        subprocess.run(
            [self.program, "initdb", "--quiet", "--conf", str(self.configuration)],
            check=True,
            capture_output=True,
            timeout=30,
        )

    def arguments(self) -> Sequence[str]:
        """Return the arguments for running in the foreground with the configuration."""
        return "run", "--quiet", "--conf", str(self.configuration)
