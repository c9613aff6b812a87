"""Twisted resources, Klein applications and WebSockets that plugins mount below a path."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from twisted.python.failure import Failure
from twisted.web.resource import IResource, getChildForRequest

from errklein.listening import receive_frames
from errklein.running import NEVER
from errklein.running.context import assigned, origin
from errklein.web._error_pages import Problem

if TYPE_CHECKING:
    from errklein.web._delivery import WebServices


@dataclass(eq=False)
class Mount:
    """A plugin's resource, which gets the requests for `path` and everything below it that no webhook handles."""

    owner: str
    path: str
    resource: IResource
    max_body = None

    @property
    def label(self) -> str:
        """The name of the mount beside those of webhooks."""
        return f"{self.owner}:{self.path}"

    def has(self, path: str) -> bool:
        return self.path == "/" or path == self.path or path.startswith(f"{self.path}/")

    def enter(self, request: Any) -> IResource:
        segments = list(map(unquote_to_bytes, request.path[1:].split(b"/")))
        depth = self.path.count("/") if self.path != "/" else 0
        base = getattr(request, "base_path", "").encode().split(b"/")[1:]
        request.prepath, request.postpath = base + segments[:depth], segments[depth:]
        resource: IResource = getChildForRequest(self.resource, request)
        return resource


class MountedResponse:
    """Renders a mounted resource. The client gets 504 if no response has begun when `deadline` has passed. From the
    head of the response on, the time is up to the resource: it may be a stream of events or a WebSocket."""

    def __init__(self, services: WebServices, mount: Mount, request: Any) -> None:
        self.deadline = request.begun + services.settings.timeout
        self._services = services
        self._mount = mount
        self._request = request

    def start(self) -> None:
        request = self._request
        if request.finished:
            return
        self._services.open_requests.watch(self)
        self._services.routes.streams[self._mount.owner].add(self)
        request.notifyFinish().addBoth(self._settle)
        if self._mount.owner in self._services.routes.held:
            self._services.routes.when_released(self._mount.owner).addCallback(self._route_again)
            return
        request.content.seek(0)
        with assigned(origin, f"plugin:{self._mount.owner}"):
            request.render(self._mount.enter(request))

    @property
    def endless(self) -> bool:
        """Whether the response is a stream of events, whose client connects again when it ends."""
        kinds = self._request.responseHeaders.getRawHeaders(b"Content-Type", [])
        return any(kind.startswith(b"text/event-stream") for kind in kinds)

    def end(self, problem: Problem) -> None:
        if self._request.startedWriting:
            self._request.fail(problem)

    def deadline_passed(self) -> None:
        self.deadline = NEVER
        if not self._request.startedWriting:
            seconds = self._services.settings.timeout
            self._request.fail(Problem(504, f"the resource did not respond within {seconds:g} s"))

    def _route_again(self, _: object) -> None:
        try:
            if not self._request.finished:
                self._services.intake.route(self._request)
        except Exception:
            self._request.processingFailed(Failure())

    def _settle(self, _: object) -> None:
        self._services.open_requests.forget(self)


def limit_messages(channel: Any) -> None:
    """Limit the messages on a WebSocket that may take over this connection of another site."""

    def upgrade(websocket: Any) -> None:
        type(channel)._protocolUpgradeForWebsockets(channel, websocket)
        channel.dataReceived = partial(receive_frames, websocket)

    channel._protocolUpgradeForWebsockets = upgrade
