"""Tests for the server as a whole."""

from __future__ import annotations

import json
import os
import socket

from twisted.internet import reactor
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol
from twisted.trial.unittest import TestCase

from errklein.listening import SOCKETS
from errklein.running import Runner, WorkerPool
from errklein.web import WebServer
from tests import needs_network
from tests.web.kit import Slow, SocketClient, WebCase, port_of, request, status_of


class StoppingTests(WebCase):
    """A server that stops while requests are open."""

    def setUp(self) -> None:
        """A server with a plugin."""
        super().setUp()
        self.plugin = Slow()
        self.serve(self.plugin)

    def test_stopping(self) -> None:
        """Open requests get their responses, new ones get 503, and idle connections are closed."""
        busy, idle, new = self.connect(), self.connect(), self.connect()
        self.assertEqual(busy.send(request("POST", "/slow")), b"")
        idle.send(request("POST", "/quick"))
        new.send(b"POST /quick HT")
        self.web.begin_stopping()
        done = self.web.when_idle()
        self.assertTrue(idle.closed)
        self.assertFalse(busy.closed or new.closed)
        refused = new.send(b"TP/1.1\r\nHost: x\r\n\r\n")
        self.assertEqual(status_of(refused), 503)
        self.assertIn(b"Retry-After: ", refused)
        self.assertTrue(new.closed)
        self.assertEqual(self.successResultOf(self.start("POST", "/quick")).status, 503)
        self.assertNoResult(done)
        self.plugin.gates[0].callback("the last word")
        response = busy.received()
        self.assertEqual(status_of(response), 200)
        self.assertTrue(response.endswith(b"the last word"))
        self.assertTrue(busy.closed)
        self.successResultOf(done)
        self.successResultOf(self.web.when_idle())

    def test_pipelined_request_while_stopping(self) -> None:
        """The current request gets its response; the pipelined one behind it does not."""
        connection = self.connect()
        connection.send(request("POST", "/slow") + request("POST", "/slow"))
        self.web.begin_stopping()
        self.plugin.gates[0].callback("one")
        self.assertEqual(connection.received().count(b"HTTP/1.1"), 1)
        self.assertTrue(connection.closed)

    def test_closing(self) -> None:
        """All connections are aborted."""
        busy = self.connect()
        busy.send(request("POST", "/slow"))
        self.successResultOf(self.web.close())
        self.assertTrue(busy.disconnected)


class DrainingTests(TestCase):
    """A process that is drained, among several that share a socket."""

    async def test_endpoint_for_other_processes(self) -> None:
        """The shared socket is closed, and the endpoint at which others reach this process stays open."""
        needs_network()
        shared, own = "tcp:0:interface=127.0.0.1", "tcp:port=0:interface=127.0.0.1:backlog=5"
        opened = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(opened.close)
        self.patch(os, "environ", {**os.environ, SOCKETS: json.dumps({shared: opened.fileno()})})
        pool = WorkerPool(reactor, "webhook", 1)
        self.addCleanup(pool.stop)
        web = WebServer(reactor, Runner(reactor, pool))
        self.addCleanup(web.close)
        for endpoint in (shared, own):
            await web.listeners.open(endpoint)
        web.begin_draining()
        self.assertEqual(web.listeners.open_now, [own])
        endpoint = HostnameEndpoint(reactor, "127.0.0.1", port_of(web.listeners, own))
        client: SocketClient = await connectProtocol(endpoint, SocketClient())
        client.transport.write(request("GET", "/unknown"))
        self.assertEqual(status_of(await client.closed), 404)
