"""The servers that benchmarks/webhooks.py compares, and the command line of each.

A handler decodes the body, which is JSON or a form with JSON in the field "payload", and returns OK. The kinds of handlers:

- plain: a function that may block, and runs in a thread
- async: runs on the event loop
- raw, raw async: gets errklein's or errbot's request object and decodes the body itself
- form, form async: as plain and async, with a form

A server with additional routes has a handler at each of the paths /routes/0, /routes/1, …
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from bots import HERE, PLUGINS, Bot, errbot, errklein, log_no_deliveries, log_requests

PEERS = HERE / "peers"
HUBOT = "hubot@14.1.0"
PLUGIN = "from errbot import BotPlugin, webhook\n\n\nclass Routes(BotPlugin):\n"
HANDLER = '    @webhook("/routes/{number}")\n    {kind} route_{number}(self, payload):\n        return "OK"\n'


@dataclass(frozen=True)
class Certificate:
    """The files of a certificate and its key."""

    certificate: Path
    key: Path


@dataclass(frozen=True)
class Setup:
    """The configuration of a server: `directory` is its own, `port` on 127.0.0.1, HTTPS with `certificate`."""

    directory: Path
    port: int
    routes: int = 0
    certificate: Certificate | None = None
    access_log: bool = False


@dataclass(frozen=True)
class Peer:
    """A server: `titles` are the kinds of its handlers and how tables name them; `missing` says how to install it, or is ""."""

    name: str
    titles: Mapping[str, str]
    command: Callable[[Setup], Bot]
    missing: str = ""
    https: bool = True


def new_certificate(directory: Path) -> Certificate:
    """Create a self-signed certificate with an ECDSA key."""
    made = Certificate(directory / "certificate.pem", directory / "key.pem")
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
    ]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    files = ["-keyout", str(made.key), "-out", str(made.certificate)]
    subprocess.run([*command, *names, *files], check=True, capture_output=True)
    return made


def peers(errbot_python: Path | None, hubot: Path | None, before: Path | None) -> Iterator[Peer]:
    """Yield all servers, also those that aren't installed.

    :param errbot_python: A Python with errbot.
    :param hubot: A directory in which npm has installed Hubot.
    :param before: Another checkout, whose errklein is measured as "before".
    """
    kinds = ("plain", "async", "raw", "raw async", "form", "form async")
    yield Peer("errklein", {kind: f"errklein {kind}" for kind in kinds}, lambda setup: _errklein(setup, HERE.parent))
    if before is not None:
        yield Peer("before", {kind: f"before {kind}" for kind in kinds}, lambda setup: _errklein(setup, before))
    yield _script("aiohttp", "aiohttp")
    yield _script("uvicorn", "uvicorn", "httptools")
    fastapi = {kind: f"FastAPI {kind}" for kind in ("plain", "async", "form", "form async")}
    yield _script("FastAPI", "fastapi", "uvicorn", "httptools", "python_multipart", titles=fastapi)
    yield _script("httptools", "httptools")
    yield _script("Klein", "klein")
    yield _script("twisted.web", "twisted")
    yield Peer(
        "errbot",
        {"plain": "errbot", "raw": "errbot raw", "form": "errbot form"},
        lambda setup: _errbot(setup, Path(errbot_python or "")),
        ""
        if errbot_python
        else "`DIR/bin/pip install errbot pytest` in a virtualenv, then --errbot-python DIR/bin/python",
    )
    yield Peer(
        "Hubot",
        {"async": "Hubot", "form async": "Hubot form"},
        lambda setup: _hubot(setup, Path(hubot or "")),
        "" if hubot else f"`npm install --prefix DIR {HUBOT}`, then --hubot DIR",
        https=False,
    )
    yield Peer("webhook", {"plain": "webhook"}, _webhook, "" if shutil.which("webhook") else "`apt install webhook`")


def _script(name: str, *modules: str, titles: Mapping[str, str] | None = None) -> Peer:
    """Return the peer that peers/servers.py runs with this Python."""
    absent = not all(map(find_spec, modules))
    missing = "`pip install -r benchmarks/peers/requirements.txt`" if absent else ""
    titles = titles or {"async": name, "form async": f"{name} form"}
    return Peer(name, titles, lambda setup: _python(setup, name.lower().partition(".")[0]), missing)


def _python(setup: Setup, name: str) -> Bot:
    command = [sys.executable, str(PEERS / "servers.py"), name, str(setup.port), "--routes", str(setup.routes)]
    if setup.certificate:
        command += ["--certificate", str(setup.certificate.certificate), "--key", str(setup.certificate.key)]
    return Bot(command + ["--access-log"] * setup.access_log, {})


def _errklein(setup: Setup, checkout: Path) -> Bot:
    plugins = _plugins(setup, "async def")
    bot = errklein(setup.directory, "Null", plugins=plugins, checkout=checkout)
    log_no_deliveries(setup.directory)
    if setup.access_log:
        log_requests(setup.directory)
    endpoint = f"tcp:{setup.port}:interface=127.0.0.1"
    if setup.certificate:
        keys = f"privateKey={setup.certificate.key}:certKey={setup.certificate.certificate}"
        endpoint = f"ssl:{setup.port}:{keys}:interface=127.0.0.1"
    return Bot([*bot.command, "--web", endpoint], bot.environment)


def _errbot(setup: Setup, python: Path) -> Bot:
    keys = (str(setup.certificate.certificate), str(setup.certificate.key)) if setup.certificate else None
    bot = errbot(setup.directory, python, "Null", setup.port, _plugins(setup, "def"), keys)
    if setup.access_log:
        log_requests(setup.directory)
    return bot


def _plugins(setup: Setup, kind: str) -> Path:
    """Return the directory of the benchmark's plugin, with a second plugin that has the additional routes."""
    if not setup.routes:
        return PLUGINS
    directory = setup.directory / "plugins"
    shutil.copytree(PLUGINS, directory)
    handlers = (HANDLER.format(number=number, kind=kind) for number in range(setup.routes))
    (directory / "routes.py").write_text(PLUGIN + "\n".join(handlers), encoding="utf-8")
    (directory / "routes.plug").write_text("[Core]\nName = Routes\nModule = routes\n", encoding="utf-8")
    return directory


def _hubot(setup: Setup, directory: Path) -> Bot:
    program = str((directory / "node_modules" / ".bin" / "hubot").resolve())
    environment = {"EXPRESS_PORT": str(setup.port), "EXPRESS_BIND_ADDRESS": "127.0.0.1", "EXPRESS_LIMIT": "25mb"}
    environment |= {"HUBOT_LOG_LEVEL": "warn", "NODE_ENV": "production", "ROUTES": str(setup.routes)}
    shutil.copy(PEERS / "hubot.mjs", setup.directory)
    return Bot(["sh", "-c", f"cd {setup.directory} && exec {program} --file hubot.mjs --require ."], environment)


def _webhook(setup: Setup) -> Bot:
    """Return the command line of adnanh/webhook, which runs a program for each request; it responds when that has ended."""
    paths = ["bench_plain", *(f"routes/{number}" for number in range(setup.routes))]
    shared = {"execute-command": "/bin/echo", "include-command-output-in-response": True, "http-methods": ["POST"]}
    hooks = [
        {"id": path, **shared, "pass-arguments-to-command": [{"source": "string", "name": "OK"}]} for path in paths
    ]
    file = setup.directory / "hooks.json"
    file.write_text(json.dumps(hooks), encoding="utf-8")
    command = ["webhook", "-hooks", str(file), "-ip", "127.0.0.1", "-port", str(setup.port), "-urlprefix", ""]
    if setup.certificate:
        command += ["-secure", "-cert", str(setup.certificate.certificate), "-key", str(setup.certificate.key)]
    return Bot(command + ["-verbose"] * setup.access_log, {})
