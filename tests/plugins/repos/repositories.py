"""Repositories and archives of plugins, made for tests."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests import needs_network

PLUGIN = "from errbot import BotPlugin, botcmd\nclass P(BotPlugin):\n    @botcmd\n    def {name}(self, msg, args):\n        return '{says}'\n"


def plugin_files(name: str, says: str = "1", folder: str = "") -> dict[str, str]:
    """The files of a plugin with one command, which is called as the plugin is, in lower case."""
    low = name.lower()
    return {
        f"{folder}{low}.plug": f"[Core]\nName = {name}\nModule = {low}\n",
        f"{folder}{low}.py": PLUGIN.format(name=low, says=says),
    }


class GitRepository:
    """A git repository in a directory."""

    def __init__(self, directory: Path, files: Mapping[str, str]) -> None:
        self.directory = directory
        directory.mkdir(parents=True)
        self.git("init", "--quiet", "--initial-branch=main")
        self.commit(files)

    def git(self, *arguments: str) -> None:
        """Run git in it, as nobody in particular."""
        environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
        identity = ("-c", "user.name=n", "-c", "user.email=n@localhost")
        subprocess.run(
            ["git", *identity, *arguments], cwd=self.directory, env=environment, check=True, capture_output=True
        )

    def commit(self, files: Mapping[str, str], removed: tuple[str, ...] = ()) -> None:
        """Write the files, remove others, and commit that."""
        for name, text in files.items():
            path = self.directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        for name in removed:
            (self.directory / name).unlink()
        self.git("add", "--all", ".")
        self.git("commit", "--quiet", "--message=x")


def archive(files: Mapping[str, str | tarfile.TarInfo]) -> bytes:
    """A .tar.gz archive of the files; what isn't a text is put there as it is."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            if isinstance(content, tarfile.TarInfo):
                tar.addfile(content)
                continue
            info = tarfile.TarInfo(name)
            info.size = len(content.encode())
            tar.addfile(info, io.BytesIO(content.encode()))
    return buffer.getvalue()


class FileServer:
    """An HTTP server on loopback, with a body, or a status and where to go, for each path."""

    def __init__(self) -> None:
        needs_network()
        self.bodies: dict[str, bytes] = {}
        self.redirects: dict[str, str] = {}
        self.asked: list[str] = []
        self.credentials: list[str | None] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                outer.credentials.append(self.headers["Authorization"])
                target = outer.redirects.get(self.path)
                body = outer.bodies.get(self.path, b"")
                self.send_response(302 if target else 200 if self.path in outer.bodies else 404)
                if target:
                    self.send_header("Location", target)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
