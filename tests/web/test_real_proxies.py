"""Tests with nginx and HAProxy, configured as in the operators' guide."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import ssl
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from errklein.config import load_config
from errklein.running import Runner, WorkerPool
from errklein.web import WebServer, WebSettings
from errklein.webhooks.forwarding import TrustedProxies
from tests import needs_network
from tests.authority import Authority
from tests.processes import ROOT
from tests.server_program import ServerProgram, free_port
from tests.web.kit import hooks_of, port_of
from tests.web.test_behind_proxies import SPOOFED, Where

EXAMPLES = ROOT / "docs" / "examples"
DEPLOYMENT = ROOT / "errklein" / "examples"

CLIENT = "127.0.0.2"
"""The address of most clients. The proxies have 127.0.0.1."""

LISTS = (
    (
        "Forwarded",
        'for="[::1]:80";proto=http;host=evil.example.net, for=_hidden, for=unknown, for=127.0.0.1;proto=http',
    ),
    ("Forwarded", 'for="127.0.0.1'),
    ("X-Forwarded-For", "[::1]:80, ::1, _hidden, unknown, 127.0.0.1"),
    ("X-Forwarded-For", ","),
    ("X-Real-IP", "_hidden, 127.0.0.1"),
    ("X-Forwarded-Proto", "https, http"),
    ("X-Forwarded-Host", "bot.example.net, evil.example.net"),
    ("X-Forwarded-Port", "443, 66"),
    ("X-Forwarded-Prefix", "/bot, /evil"),
)

ATTACKS: Mapping[str, Sequence[tuple[str, str]]] = {
    "without headers": (),
    "each header": SPOOFED,
    "several lines": (*SPOOFED, *LISTS, *SPOOFED),
    "lists": LISTS,
    "hop-by-hop headers": (
        *SPOOFED,
        *(("Connection", name) for name, _ in SPOOFED),
        ("Connection", "Host, X-Forwarded-For, X-Forwarded-Proto"),
        ("Keep-Alive", "X-Forwarded-For"),
        ("TE", "X-Forwarded-For"),
    ),
    "similar names": [(name.replace("-", separator), value) for separator in "_." for name, value in LISTS],
}
"""Headers with which a client tries to change what a handler knows about its request."""


def settings_of(example: str) -> WebSettings:
    """Return the settings in one of the guide's configurations."""
    config = load_config(EXAMPLES / example)
    return WebSettings(
        proxies=TrustedProxies(config.TRUSTED_PROXIES),
        base_path=config.WEBHOOK_BASE_PATH,
        public_url=config.PUBLIC_URL,
    )


class Nginx(ServerProgram):
    """An nginx with a site of the guide. `replaced` are parts of the file that differ here, such as ports."""

    def __init__(self, site: str, replaced: Mapping[str, str]) -> None:
        super().__init__("nginx")
        (self.directory / "site.conf").write_text(replace(DEPLOYMENT / site, replaced))
        paths = "".join(
            f"{name}_temp_path {self.directory}/{name};\n"
            for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        # One process, so that none remains when it is killed. As root, nginx would run as another user, who can't use the
        # bot's socket.
        user = "user root;\n" if os.getuid() == 0 else ""
        self.configuration.write_text(
            f"{user}daemon off;\nmaster_process off;\npid {self.directory}/pid;\nevents {{}}\n"
            f"http {{\naccess_log off;\n{paths}include site.conf;\n}}\n"
        )

    def arguments(self) -> Sequence[str]:
        """Return the arguments for running in the foreground with the configuration."""
        return "-p", str(self.directory), "-c", str(self.configuration), "-e", str(self.directory / "errors")


class HAProxy(ServerProgram):
    """A HAProxy with this configuration."""

    def __init__(self, text: str) -> None:
        super().__init__("haproxy")
        self.configuration.write_text(text)

    def arguments(self) -> Sequence[str]:
        """Return the arguments for running in the foreground with the configuration."""
        return "-db", "-f", str(self.configuration)


def replace(file: Path, parts: Mapping[str, str]) -> str:
    """Return the text of a file with these parts replaced, each of which occurs in it."""
    text = file.read_text()
    for part, other in parts.items():
        assert part in text, f"{file.name} has no {part!r}"
        text = text.replace(part, other)
    return text


class ProxyCase(TestCase):
    """Has a bot on loopback with the plugin Where, and the certificate of a proxy for bot.example.net."""

    def setUp(self) -> None:
        """Issue the certificate."""
        needs_network()
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.authority = Authority()
        issued = self.authority.issue("bot.example.net", "www.example.net")
        self.bundle = self.directory / "bundle.pem"
        self.bundle.write_bytes(self.authority.bundle(issued))
        self.clients = [CLIENT, "127.0.0.3"]
        with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
            self.clients.append("::1")

    async def start_bot(self, settings: WebSettings, description: str = "tcp:0:interface=127.0.0.1") -> WebServer:
        """Start the bot on an endpoint."""
        pool = WorkerPool(self.reactor, "webhook", 2)
        self.addCleanup(pool.stop)
        web = WebServer(self.reactor, Runner(self.reactor, pool), settings)
        web.routes.replace("Where", hooks_of(Where()))
        self.addCleanup(web.close)
        await web.listeners.open(description)
        return web

    async def start(self, proxy: ServerProgram) -> None:
        """Start a proxy, whose port must accept connections."""
        self.addCleanup(proxy.stop)
        proxy.start()
        await proxy.wait_until_up(self.reactor)

    async def attack(self, port: int, url: str = "https://bot.example.net/where") -> None:
        """Check that no headers change what a handler knows, for each client. `port` is the proxy's, which serves `url`."""
        _, _, host, path = url.split("/", 3)
        for client in self.clients:
            for name, headers in ATTACKS.items():
                found = await self.ask(port, host, f"/{path}", headers, client)
                self.check(found, url, client, name)

    async def attack_with_host(self, port: int, url: str = "https://bot.example.net/where") -> None:
        """Check that no headers, among them Host, change what a handler knows. `port` is that of a proxy for HTTP."""
        await self.attack(port, url)
        _, _, host, path = url.split("/", 3)
        self.check(await self.ask(port, host, f"/{path}", [("Host", "evil.example.net:66")]), url)

    async def ask(
        self,
        port: int,
        host: str = "",
        path: str = "/where",
        headers: Sequence[tuple[str, str]] = SPOOFED,
        client: str = CLIENT,
    ) -> Any:
        """Send a request, with TLS if `host` is given. Return what the handler knows, or the response's status."""
        raw = await deferToThread(self._ask, port, host, path, headers, client)
        head, _, body = raw.partition(b"\r\n\r\n")
        return json.loads(body) if b" 200 " in head[:13] else int(head[9:12])

    def _ask(self, port: int, host: str, path: str, headers: Sequence[tuple[str, str]], client: str) -> bytes:
        sent_host = dict(headers).get("Host", host or "bot.example.net")
        lines = [
            f"POST {path} HTTP/1.1",
            f"Host: {sent_host}",
            "Connection: close",
            "Content-Length: 0",
            *(f"{name}: {value}" for name, value in headers if name != "Host"),
        ]
        server = "::1" if ":" in client else "127.0.0.1"
        with socket.create_connection((server, port), 10, source_address=(client, 0)) as connection:
            if host:
                context: ssl.SSLContext = self.authority.client()
                connection = context.wrap_socket(connection, server_hostname=host)
            connection.sendall("\r\n".join([*lines, "", ""]).encode())
            received = b""
            while data := connection.recv(65536):
                received += data
            connection.close()
            return received

    def check(
        self, found: Any, url: str = "https://bot.example.net/where", client: str = CLIENT, message: str = ""
    ) -> None:
        """Check what a handler knows about its request."""
        root = "/bot" if "/bot/" in url else ""
        self.assertEqual(
            found,
            {
                "url": url,
                "scheme": url.partition(":")[0],
                "secure": url.startswith("https:"),
                "host": url.split("/")[2],
                "path": "/where",
                "root": root,
                "url_root": url.removesuffix("where"),
                "client": client,
                "route": [client],
                "link": f"{root}/where",
                "external": url,
            },
            message,
        )


class NginxTests(ProxyCase):
    """nginx in front of the bot."""

    async def nginx(self, site: str, replaced: Mapping[str, str]) -> tuple[int, int]:
        """Start nginx with a site of the guide. Return its ports for HTTP, if the site has one, and HTTPS."""
        http, https = free_port(), free_port()
        name = "www.example.net" if site == "nginx-path.conf" else "bot.example.net"
        certificates = {
            f"/etc/ssl/{name}/fullchain.pem": str(self.bundle),
            f"/etc/ssl/{name}/privkey.pem": str(self.bundle),
        }
        ipv6 = f"listen [::1]:{https} ssl;" if "::1" in self.clients else ""
        ports = {"listen [::]:443 ssl;": ipv6, "listen 443 ssl;": f"listen 127.0.0.1:{https} ssl;"}
        if site == "nginx.conf":
            ports |= {"listen [::]:80;": "", "listen 80;": f"listen 127.0.0.1:{http};"}
        proxy = Nginx(site, {**ports, **certificates, **replaced})
        proxy.port = https
        await self.start(proxy)
        return http, https

    async def test_the_guide(self) -> None:
        """Scheme, host and client are correct, and headers that the client sends have no effect."""
        web = await self.start_bot(settings_of("config_nginx.py"))
        port = port_of(web.listeners, "tcp:0:interface=127.0.0.1")
        http, https = await self.nginx("nginx.conf", {"127.0.0.1:3141": f"127.0.0.1:{port}"})
        await self.attack_with_host(https)
        self.assertEqual(await self.ask(http), 308)
        # The client reaches the bot without the proxy.
        for headers in ATTACKS.values():
            self.check(await self.ask(port, headers=headers), "http://bot.example.net/where")

    async def test_appended_addresses(self) -> None:
        """The address that nginx appends to those that the client has sent is the client's."""
        web = await self.start_bot(settings_of("config_nginx.py"))
        port = port_of(web.listeners, "tcp:0:interface=127.0.0.1")
        replaced = {"127.0.0.1:3141": f"127.0.0.1:{port}", "For $remote_addr": "For $proxy_add_x_forwarded_for"}
        _, https = await self.nginx("nginx.conf", replaced)
        await self.attack(https)

    async def test_below_a_path(self) -> None:
        """Over a Unix socket and below a path, links and redirects lead to the bot, whether nginx removes the path or not."""
        settings = settings_of("config_nginx_path.py")
        directory = tempfile.mkdtemp(prefix="errklein-")
        self.addCleanup(shutil.rmtree, directory)
        path = f"{directory}/web.sock"
        await self.start_bot(settings, f"unix:{path}:mode=660")
        for proxy_pass in ("proxy_pass http://errklein;", "proxy_pass http://errklein/;"):
            _, https = await self.nginx(
                "nginx-path.conf",
                {"unix:/run/errklein/web.sock": f"unix:{path}", "proxy_pass http://errklein;": proxy_pass},
            )
            await self.attack_with_host(https, "https://www.example.net/bot/where")


class HAProxyTests(ProxyCase):
    """HAProxy in front of the bot, with the PROXY protocol."""

    endpoint = "haproxy:tcp:0:interface=127.0.0.1"

    async def haproxy(self, port: int, version: str) -> int:
        """Start HAProxy as in the guide. Return its port for HTTPS."""
        http, https = free_port(), free_port()
        # The first address is that of an IPv6 socket, as with v4v6.
        address = f"::ffff:127.0.0.1:{https},::1:{https}" if "::1" in self.clients else f"127.0.0.1:{https}"
        text = replace(
            DEPLOYMENT / "haproxy.cfg",
            {
                "bind :::80 v4v6": f"bind 127.0.0.1:{http}",
                "bind :::443 v4v6": f"bind {address}",
                "/etc/haproxy/bot.example.net.pem": str(self.bundle),
                "127.0.0.1:3142 send-proxy-v2 check": f"127.0.0.1:{port} {version} check inter 100ms",
                # Without a response to its checks, HAProxy forwards nothing.
                "    timeout connect": "    option httpchk GET /where\n    timeout connect",
            },
        )
        proxy = HAProxy(text)
        proxy.port = https
        await self.start(proxy)
        return https

    async def test_the_guide(self) -> None:
        """Scheme, host and client are correct with both versions, and headers that the client sends have no effect."""
        web = await self.start_bot(settings_of("config_haproxy.py"), self.endpoint)
        port = port_of(web.listeners, self.endpoint)
        for version in ("send-proxy-v2", "send-proxy"):
            await self.attack_with_host(await self.haproxy(port, version))

    async def test_tls_of_the_bot(self) -> None:
        """HAProxy forwards TLS connections to a bot that has the certificate."""
        certificates = self.directory / "certificates"
        certificates.mkdir()
        (certificates / "bot.pem").write_bytes(self.bundle.read_bytes())
        endpoint = f"haproxy:tls:{certificates}:0:interface=127.0.0.1"
        web = await self.start_bot(WebSettings(), endpoint)
        for version in ("send-proxy-v2", "send-proxy"):
            proxy = HAProxy("")
            proxy.configuration.write_text(
                "defaults\n mode tcp\n timeout connect 5s\n timeout client 60s\n timeout server 70s\n"
                f"listen bot\n bind 127.0.0.1:{proxy.port}\n"
                f" server bot 127.0.0.1:{port_of(web.listeners, endpoint)} {version}\n"
            )
            await self.start(proxy)
            self.clients = self.clients[:2]
            await self.attack(proxy.port)
