"""Capability negotiation and SASL, without I/O.

See https://ircv3.net/specs/extensions/capability-negotiation and https://ircv3.net/specs/extensions/sasl-3.1.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence

LABELS = frozenset({"batch", "labeled-response"})
"""The capabilities with which a server replies to each line."""

WANTED = ("batch", "server-time", "labeled-response", "echo-message", "message-tags")
"""Capabilities to request if the server offers them. `echo-message` is only requested if LABELS aren't offered. With
`message-tags`, messages of bots are marked.

`batch` covers the batch types `chathistory` and `znc.in/playback`. `draft/chathistory` is not requested: servers such as ergo
expect clients with it to fetch the history themselves, and stop replaying missed messages.
"""


BEGIN = "CAP LS 302"
"""The first line to send. Version 302 enables multi-line lists, CAP NEW and CAP DEL."""


class Capabilities:
    """A capability negotiation: `enabled` has the capabilities in effect, and `settled` is True when CAP END may be sent.

    `sasl_mechanisms` are those that the server has announced, in upper case; empty if it hasn't.

    :param wanted: The capabilities to request if the server offers them.
    """

    def __init__(self, wanted: Iterable[str]) -> None:
        self.enabled: set[str] = set()
        self.settled = False
        self.sasl_mechanisms: Sequence[str] = ()
        self._wanted = tuple(wanted)
        self._offered: set[str] = set()
        self._requested: set[str] = set()

    @property
    def label_lines(self) -> bool:
        """True if lines may have labels, to which the server replies."""
        return self.enabled >= LABELS

    @property
    def confirm_lines(self) -> bool:
        """True if the server replies to each line, or sends it back."""
        return self.label_lines or "echo-message" in self.enabled

    def received(self, subcommand: str, params: Sequence[str]) -> list[str]:
        """Handle a CAP line of the server, and return the lines to send.

        `params` are the parameters after the subcommand.
        """
        tokens = [token.lstrip("-~=").partition("=") for token in params[-1].split()] if params else []
        names = [name for name, _, _ in tokens]
        requests: list[str] = []
        if subcommand in ("LS", "NEW"):
            self._offered.update(set(names).intersection(self._wanted))
            for name, _, value in tokens:
                if name == "sasl" and value:
                    self.sasl_mechanisms = value.upper().split(",")
            # "*" means that more lines of the list follow.
            if subcommand == "LS" and len(params) > 1 and params[0] == "*":
                return []
            requests = list(self._requests())
        elif subcommand == "ACK":
            removed = {token[1:] for token in params[-1].split() if token.startswith("-")} if params else set()
            self.enabled.update(self._requested.intersection(names))
            self.enabled -= removed
            self._requested.difference_update(names)
        elif subcommand == "NAK":
            self._requested.difference_update(names)
            self._offered.difference_update(names)
        elif subcommand == "DEL":
            for granted in (self.enabled, self._offered, self._requested):
                granted.difference_update(names)
        if subcommand != "NEW" and not self._requested:
            self.settled = True
        return requests

    def _requests(self) -> Iterator[str]:
        unwanted = "echo-message" if self._offered >= LABELS else "labeled-response"
        # A server grants or refuses a request as a whole, so each capability gets its own.
        for name in self._wanted:
            if name in self._offered - self.enabled - self._requested - {unwanted}:
                self._requested.add(name)
                yield f"CAP REQ :{name}"


_CHUNK = 400

REFUSALS = ("902", "904", "905", "906")
"""Numeric replies that reject a SASL authentication. 908 lists the server's mechanisms, and comes before one of them."""


def authenticate_lines(account: str, password: str) -> Iterator[str]:
    """Yield the AUTHENTICATE lines of SASL PLAIN (RFC 4616), to send after the server's "AUTHENTICATE +"."""
    secret = b64encode(b"\0".join(part.encode() for part in (account, account, password))).decode()
    for begin in range(0, len(secret), _CHUNK):
        yield f"AUTHENTICATE {secret[begin : begin + _CHUNK]}"
    if len(secret) % _CHUNK == 0:
        # After a chunk of full length the server expects another one.
        yield "AUTHENTICATE +"
