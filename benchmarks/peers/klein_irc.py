"""A webhook that posts a line to an IRC room, written by hand: python klein_irc.py WEB_PORT IRC_PORT NICK."""

from __future__ import annotations

import json
import sys
from typing import Any

from klein import Klein
from twisted.internet import endpoints, protocol, reactor
from twisted.web.server import Site
from twisted.words.protocols import irc

WEB_PORT, IRC_PORT, NICK = sys.argv[1:]
app = Klein()


class Client(irc.IRCClient):
    """The connection to the server."""

    nickname = NICK
    current: Client

    def signedOn(self) -> None:
        """Join the room."""
        Client.current = self
        self.join("#ops")


@app.route("/push/", methods=["POST"])
def push(request: Any) -> str:
    """Post a line about a push."""
    payload = json.loads(request.content.read())
    text = f"{payload['pusher']['name']} pushed {len(payload['commits'])} commits: {payload['after']}"
    Client.current.sendLine(f"PRIVMSG #ops :{text}")
    return "OK"


reactor.connectTCP("127.0.0.1", int(IRC_PORT), protocol.ReconnectingClientFactory.forProtocol(Client))
endpoints.serverFromString(reactor, f"tcp:{WEB_PORT}:interface=127.0.0.1").listen(Site(app.resource()))
reactor.run()
