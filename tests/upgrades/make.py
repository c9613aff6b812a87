"""Write the data directory of a bot of an earlier commit to an archive: `python tests/upgrades/make.py COMMIT [NAME]`.

A release runs it for its tag, see CONTRIBUTING.md. The archive NAME.tar.xz, by default with the name of the commit or tag,
has the data directory as it is when the bot is killed, and a file expected.json. It is made once and never again: what
counts is that old files can be read.

The bot runs from `git archive`, with the packages of this Python. First it is on the Text network, where it stores values,
a configuration and the blacklist. Then it is on an IRC network whose server is down: webhooks end in each state, and
messages wait.
"""

from __future__ import annotations

import hashlib
import hmac
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SECRET = "secret of the webhooks"
COMMANDS = """\
!keep
!plugin config Keeper {'greeting': 'moin', 'times': 2}
!plugin blacklist Backup
!shutdown --confirm
"""
CONFIG = """
BOT_DATA_DIR = {data!r}
BOT_EXTRA_PLUGIN_DIR = {plugins!r}
BOT_ADMINS = ("@admin",)
CHATROOM_PRESENCE = ()
"""
TEXT = "BACKEND = 'Text'\nBOT_IDENTITY = {'username': '@bot'}\n"
IRC = "BACKEND = 'IRC'\nBOT_IDENTITY = {'nickname': 'bot', 'server': '127.0.0.1', 'port': 1}\n"
POSTS = ("done", "failed", "later", "dead", "retry", "running", "running", "signed", "signed", "refused")
"""The webhooks that get requests, in this order: the second of `running` waits, that of `signed` is a duplicate."""
REPOSITORIES = "{'installed_repos': {'someone/songs': 'https://host/songs'}}"
LIMIT = 60.0


def make(commit: str, archive: Path, work: Path) -> None:
    """Write the archive for the commit."""
    code = work / "code"
    code.mkdir()
    packed = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        tar.extractall(code, filter="data")
    data = work / "data"
    data.mkdir(mode=0o700)
    has_journal = (code / "errklein" / "journal").is_dir()
    for folder in ("keeper", *(["receiver"] if has_journal else [])):
        shutil.copytree(HERE / "plugins" / folder, work / "plugins" / folder)
    config = CONFIG.format(data=str(data), plugins=str(work / "plugins"))
    (work / "text.py").write_text(config + TEXT)
    (work / "irc.py").write_text(config + IRC)
    bot = Bot(work, code)
    replies = bot.run("run", "-c", "text.py", stdin=COMMANDS)
    for words in ("values are stored", "configuration done", "blacklisted"):
        if words not in replies:
            raise SystemExit(f"the bot didn't reply with {words!r}, but:\n{replies}")
    bot.run("storage", "merge", "repomgr", "-c", "text.py", stdin=REPOSITORIES)
    statuses = bot.receive() if has_journal else []
    expected = {"commit": commit, "made": int(time.time()), "statuses": statuses}
    (data / "expected.json").write_text(json.dumps(expected) + "\n")
    for name in ("errklein.lock", "traceback.txt"):
        (data / name).unlink(missing_ok=True)
    with tarfile.open(archive, "w:xz", preset=9) as tar:
        for path in sorted(data.iterdir()):
            if path.is_file():
                tar.add(path, path.name, filter=without_owner)


@dataclass
class Bot:
    """The bot of a commit."""

    work: Path
    code: Path

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command of errklein."""
        return subprocess.Popen(
            [sys.executable, "-m", "errklein", *arguments],
            cwd=self.work,
            env={**os.environ, "PYTHONPATH": str(self.code), "UPGRADES_SECRET": SECRET, "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def run(self, *arguments: str, stdin: str) -> str:
        """Run a command of errklein to its end, and return its output."""
        process = self.start(*arguments)
        output, _ = process.communicate(stdin, LIMIT)
        if process.returncode:
            raise SystemExit(f"errklein {' '.join(arguments)} ended with status {process.returncode}")
        return output

    def receive(self) -> list[int]:
        """Let webhooks arrive while the network is down, kill the bot, and return the statuses of the responses."""
        port = free_port()
        process = self.start("run", "-c", "irc.py", "--web", f"tcp:{port}:interface=127.0.0.1")
        try:
            wait_for(port)
            statuses = []
            for number, name in enumerate(POSTS):
                statuses.append(post(port, name, number))
                # Each delivery ends, or begins to wait, before the next one arrives.
                time.sleep(2)
            return statuses
        finally:
            process.kill()
            process.wait()


def without_owner(info: tarfile.TarInfo) -> tarfile.TarInfo:
    """Leave out who has made the archive."""
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    return info


def post(port: int, name: str, number: int) -> int:
    """Send a request to a webhook, and return the status of the response."""
    body = json.dumps({"number": number}).encode()
    headers = {"Content-Type": "application/json"}
    if name in ("signed", "refused"):
        secret = SECRET if name == "signed" else "another secret"
        signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        headers |= {"X-Hub-Signature-256": f"sha256={signature}", "X-GitHub-Delivery": "id", "X-GitHub-Event": "push"}
        name = "signed"
    request = urllib.request.Request(f"http://127.0.0.1:{port}/{name}", body, headers)
    try:
        with urllib.request.urlopen(request, timeout=LIMIT) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


def free_port() -> int:
    """Return a port on loopback that no program listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(port: int) -> None:
    """Wait until the bot receives requests for its webhooks."""
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/done", timeout=1):
                return
        except urllib.error.HTTPError as error:
            if error.code not in (404, 503):
                return
        except OSError:
            pass
        time.sleep(0.2)
    raise SystemExit("the bot didn't start")


def main() -> None:
    """Make the archive that the command line names."""
    commit = sys.argv[1]
    archive = HERE / f"{sys.argv[2] if len(sys.argv) > 2 else commit}.tar.xz"
    if archive.exists():
        raise SystemExit(f"{archive} exists already")
    with tempfile.TemporaryDirectory(prefix="errklein-upgrade-") as work:
        make(commit, archive, Path(work))
    sys.stdout.write(f"{archive}: {archive.stat().st_size} bytes\n")


if __name__ == "__main__":
    main()
