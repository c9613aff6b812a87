"""The limit of messages on WebSockets, for which Twisted has none."""

from __future__ import annotations

from typing import Any

LARGEST_MESSAGE = 1024 * 1024  # the maximal size of a message on a WebSocket that plugins serve, in bytes


_CLOSED = ("REMOTE_CLOSING", "LOCAL_CLOSING", "CLOSED")


def receive_frames(websocket: Any, data: bytes, most: int = LARGEST_MESSAGE) -> bool:
    """Pass received bytes to Twisted's WebSocket, unless it is closed. It is closed with status 1009 if its message is too large.

    :returns: False if the message is too large.
    """
    connection = websocket._wsconn
    if connection.state.name in _CLOSED:
        return True
    # Not the attribute of the instance, which may call this function.
    type(websocket).dataReceived(websocket, data)
    size = len(websocket._textBuffer.data) + len(websocket._bytesBuffer.data)
    if size > most and connection.state.name == "OPEN":
        websocket.loseConnection(1009)
        return False
    return True
