"""A machine with systemd on this one, in which errklein's unit runs as it does on a server."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tests.processes import LIMIT, ROOT, Program
from tests.server_program import require_program

SCRIPT = Path(__file__).with_suffix(".sh")
USER = 5141
"""The id of the user and of the group errklein."""

_numbers = itertools.count()

_TWISTD = """\
#!/opt/errklein/venv/bin/python
from twisted.scripts.twistd import run
run()
"""


class Machine:
    """systemd and what it starts, in namespaces: this machine's files, whose changes are kept in memory, and a loopback interface.

    errklein is in the virtualenv of docs/guides/install.md, and its user and directories exist. Requires root.
    """

    def __init__(self) -> None:
        require_program("systemctl", package="systemd")
        self._work = Path(tempfile.mkdtemp(prefix="machine-"))
        self._cgroup = _own_cgroup() / f"errklein-test-{os.getpid()}-{next(_numbers)}"
        self._cgroup.mkdir()
        # The service may not enter home directories, in which this Python may be.
        seen = {sys.base_prefix: "python", sysconfig.get_path("purelib"): "packages", str(ROOT): "checkout"}
        self._log = self._work.with_suffix(".log")
        namespaces = ("--mount", "--pid", "--net", "--ipc", "--uts", "--cgroup", "--fork", "--kill-child")
        with self._log.open("wb") as log:
            self._unshare = subprocess.Popen(
                ["bash", "-c", 'echo $$ > "$0/cgroup.procs" && exec unshare "$@"', str(self._cgroup), *namespaces]
                + ["bash", str(SCRIPT), str(self._work)]
                + [f"{path}=/opt/errklein/{name}" for path, name in seen.items()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._pid = 0
        try:
            self.wait_until(self._is_up, "systemd runs")
            self.run("systemctl", "is-system-running", "--wait", check=False)
            self._install()
        except BaseException:
            self.stop()
            raise

    def path(self, path: str) -> Path:
        """Return where a file of the machine is for this one."""
        return Path(f"/proc/{self._pid}/root{path}")

    def write(self, path: str, content: str | bytes, mode: int = 0o644, owner: str = "root:root") -> None:
        """Write a file, and create its directory."""
        file = self.path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        file.chmod(mode)
        self.run("chown", owner, path)

    def unit(self, name: str, content: str) -> None:
        """Write a unit, or a file that changes one, such as "errklein.service.d/port.conf"."""
        self.write(f"/etc/systemd/system/{name}", content)
        self.run("systemctl", "daemon-reload")

    def command(self, *command: str) -> list[str]:
        """Return the command line that runs a command on the machine, as root."""
        namespaces = ("--mount", "--pid", "--net", "--ipc", "--uts", "--cgroup")
        return ["nsenter", f"--target={self._pid}", *namespaces, "--", *command]

    def run(self, *command: str, check: bool = True) -> str:
        """Run a command until it ends, and return what it writes. With `check`, it must not fail."""
        ended = subprocess.run(
            self.command(*command), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT, check=False
        )
        if check and ended.returncode:
            raise AssertionError(f"{' '.join(command)}: {ended.returncode}\n{ended.stdout}{ended.stderr}")
        return ended.stdout

    def start(self, *command: str) -> Program:
        """Start a program with which the test talks."""
        return Program(self.command(*command), cwd=Path("/"), stdin=subprocess.PIPE)

    def shown(self, name: str, unit: str = "errklein.service") -> str:
        """Return a property of a unit."""
        return self.run("systemctl", "show", "--value", f"--property={name}", unit).strip()

    def wait_until(self, holds: Callable[[], bool], what: str) -> None:
        """Wait until something holds; raise AssertionError if the machine ends first, or after the time limit."""
        limit = time.monotonic() + LIMIT
        while not holds():
            if self._unshare.poll() is not None or time.monotonic() > limit:
                raise AssertionError(f"not true: {what}\n{self._log.read_text()}")
            threading.Event().wait(0.05)

    def stop(self) -> None:
        """End all processes, and remove what is left."""
        if self._unshare.poll() is None:
            # The others end with the first one.
            os.kill(self._pid or self._unshare.pid, signal.SIGKILL)
            self._unshare.wait(LIMIT)
        for directory, _, _ in os.walk(self._cgroup, topdown=False):
            Path(directory).rmdir()
        shutil.rmtree(self._work)
        self._log.unlink()

    def _is_up(self) -> bool:
        children = Path(f"/proc/{self._unshare.pid}/task/{self._unshare.pid}/children").read_text().split()
        self._pid = int(children[0]) if children else 0
        # Until it is systemd, it may have the root directory of this machine.
        is_systemd = bool(children) and Path(f"/proc/{self._pid}/comm").read_text() == "systemd\n"
        return is_systemd and self.path("/run/systemd/private").exists()

    def _install(self) -> None:
        """Install errklein as docs/guides/install.md does."""
        for file, entry in (
            ("/etc/passwd", f"errklein:x:{USER}:{USER}::/var/lib/errklein:/usr/sbin/nologin\n"),
            ("/etc/group", f"errklein:x:{USER}:\n"),
        ):
            self.write(file, self.path(file).read_text() + entry)
        # A Python in a home directory looks for its library there.
        self.run("systemctl", "set-environment", "LD_LIBRARY_PATH=/opt/errklein/python/lib")
        python = f"python{sys.version_info.major}.{sys.version_info.minor}"
        self.run(f"/opt/errklein/python/bin/{python}", "-m", "venv", "--without-pip", "/opt/errklein/venv")
        paths = "/opt/errklein/checkout\n/opt/errklein/packages\n"
        self.write(f"/opt/errklein/venv/lib/{python}/site-packages/errklein.pth", paths)
        self.write("/opt/errklein/venv/bin/twistd", _TWISTD, 0o755)
        for directory, user, mode in (
            ("/etc/errklein", "root", "2750"),
            ("/var/lib/errklein", "errklein", "0700"),
            ("/var/log/errklein", "errklein", "0750"),
        ):
            self.run("install", "-d", "-o", user, "-g", "errklein", "-m", mode, directory)


def _own_cgroup() -> Path:
    """Return the directory of this process's control group, version 2."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    mounted = next((fields[1] for fields in mounts if fields[2] == "cgroup2"), None)
    assert mounted, "this machine has no control groups of version 2"
    entries = Path("/proc/self/cgroup").read_text().splitlines()
    return Path(mounted + next(entry.removeprefix("0::") for entry in entries if entry.startswith("0::")))
