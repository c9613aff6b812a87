"""InspIRCd, an IRC server that disconnects clients that send too fast."""

from __future__ import annotations

import os
from collections.abc import Sequence

from tests.server_program import ServerProgram

LABELS = ("cap", "ircv3_batch", "ircv3_labeledresponse")
ECHO = ("cap", "ircv3_echomessage")

_CONFIGURATION = """\
<server name="irc.test.local" description="tests" network="Test">
<admin name="tests" nick="tests" email="root@localhost">
<bind address="127.0.0.1" port="{port}" type="clients">
<connect allow="*" resolvehostnames="no" {limits}>
<path datadir="{directory}" logdir="{directory}" runtimedir="{directory}">
<pid file="{directory}/pid">
{modules}
"""

DEFAULT_LIMITS = 'threshold="10" recvq="8192" fakelag="yes"'
"""The limits in Debian's configuration; `fakelag` is the server's default."""

NO_DELAY = 'threshold="10" recvq="8192" fakelag="no"'
"""The server closes the connection of a client that exceeds the limit."""

NO_LIMITS = 'threshold="1000000" commandrate="1000000000" recvq="1000000"'


class Inspircd(ServerProgram):
    """An InspIRCd with these limits and modules."""

    def __init__(self, limits: str = DEFAULT_LIMITS, modules: Sequence[str] = ()) -> None:
        super().__init__("inspircd")
        self.configuration.write_text(
            _CONFIGURATION.format(
                port=self.port,
                directory=self.directory,
                limits=limits,
                modules="\n".join(f'<module name="{name}">' for name in modules),
            )
        )

    def arguments(self) -> Sequence[str]:
        """Return the arguments for running in the foreground with the configuration."""
        root = ["--runasroot"] if os.getuid() == 0 else []
        return "--nofork", *root, "--config", str(self.configuration)
