"""The limit for messages of clients on WebSockets, for which Twisted has none."""

from __future__ import annotations

from functools import partial
from typing import Any

LARGEST_MESSAGE = 1024 * 1024


def receive_frames(websocket: Any, data: bytes) -> None:
    """Pass received bytes to Twisted's WebSocket, unless it is closed. It is closed with status 1009 if its message is too large."""
    connection = websocket._wsconn
    if connection.state.name != "OPEN":
        return
    websocket.dataReceived(data)
    size = len(websocket._textBuffer.data) + len(websocket._bytesBuffer.data)
    if size > LARGEST_MESSAGE and connection.state.name == "OPEN":
        websocket.loseConnection(1009)


def limit_messages(channel: Any) -> None:
    """Limit the messages on a WebSocket that may take over this connection of another site."""

    def upgrade(websocket: Any) -> None:
        type(channel)._protocolUpgradeForWebsockets(channel, websocket)
        channel.dataReceived = partial(receive_frames, websocket)

    channel._protocolUpgradeForWebsockets = upgrade
