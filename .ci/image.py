"""Build the image of the Dockerfile without a registry, run it without a container engine, and kill it: `image.py`, as root on Debian 13.

mmdebstrap makes the base, a Debian with Python 3.13 in place of the slim image, and buildah follows the Dockerfile on it. The
image then runs as its own configuration says, with the environment of the compose file and the rights that it leaves: in
namespaces of its own, with a read-only root file system, without capabilities. Needs buildah with netavark, caddy and mmdebstrap; prints each
check with its figures, and exits with 1 at the first that fails.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fcntl import ioctl
from pathlib import Path
from resource import RLIMIT_NOFILE, RLIMIT_NPROC, getrlimit
from socket import socket
from struct import pack
from threading import Thread
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "errklein" / "examples" / "container"
BASE, IMAGE = "localhost/base", "localhost/errklein"
LIMITS = {"nofile": getrlimit(RLIMIT_NOFILE), "nproc": getrlimit(RLIMIT_NPROC)}
READY = 5.0
"""The seconds in which the bot must accept webhooks."""

CLIENT = "127.0.0.2"
"""The address from which requests are sent; the proxy has 127.0.0.1."""

PLUGIN = """
import subprocess
import time

from flask import request

from errklein import BotPlugin, webhook


class Recorder(BotPlugin):
    @webhook("/record/<int:number>", methods=["POST"], ack="now")
    def record(self, payload, number):
        time.sleep(0.1)
        self[f"number {number}"] = True

    @webhook("/recorded", methods=["GET"])
    def recorded(self, payload):
        return {"numbers": [int(key.split()[1]) for key in self if key.startswith("number ")]}

    @webhook("/client", methods=["POST"])
    def client(self, payload):
        return {"address": request.remote_addr, "url": request.url}

    @webhook("/orphans", methods=["POST"])
    def orphans(self, payload):
        subprocess.run(["sh", "-c", "for number in 1 2 3; do (sleep 0.2 & ); done"], check=True)
        return {}

    @webhook("/slow", methods=["POST"])
    def slow(self, payload):
        time.sleep(60)
"""

IDENTITY = 'nickname = "errklein"\nserver = "127.0.0.1"\nport = 6697\nssl = true\n'

ENTER = """
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/tmp"
mount -t tmpfs tmpfs "$root/run"
mkdir "$root/run/secrets"
mount --bind "$data" "$root/data"
mount --bind "$plugins" "$root/plugins"
mount --bind "$secrets" "$root/run/secrets"
exec chroot "$root" "$@"
"""
"""The mounts of the compose file. The root directory of the image becomes that of the process."""


def fail(text: str) -> None:
    """End the script."""
    sys.exit(f"image: {text}")


def check(is_right: bool, text: str) -> None:
    """Print what was checked; end the script if it isn't so."""
    print(f"{'ok' if is_right else 'FAILED'}: {text}", flush=True)
    if not is_right:
        fail(text)


def wait(until: Callable[[], Any], text: str, seconds: float = 60.0) -> Any:
    """Return the first true value of the function; end the script if there is none in time."""
    end = time.monotonic() + seconds
    while not (found := until()):
        if time.monotonic() > end:
            fail(f"not within {seconds:g} s: {text}")
        time.sleep(0.02)
    return found


def request(method: str, path: str, body: str = "{}", port: int = 3141, **headers: str) -> tuple[int, str]:
    """Return the status and the body of a response; 0 and the reason without one."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20, source_address=(CLIENT, 0))
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        connection.request(method, path, body if method == "POST" else None, named)
        response = connection.getresponse()
        return response.status, response.read().decode()
    except (OSError, http.client.HTTPException) as error:
        return 0, repr(error)
    finally:
        connection.close()


class Builder:
    """buildah, with all of its files in a directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        storage = ["--root", str(directory / "storage"), "--runroot", str(directory / "run")]
        self._command = ["buildah", *storage, "--storage-driver", "overlay"]
        if subprocess.run([*self._command, "info"], capture_output=True, check=False).returncode:
            # In some containers, only copies of whole directories work, which take minutes.
            shutil.rmtree(directory / "storage", ignore_errors=True)
            self._command = ["buildah", *storage, "--storage-driver", "vfs"]

    def run(self, *arguments: str) -> str:
        """Run buildah, and return its output; ends the script if it fails."""
        done = subprocess.run([*self._command, *arguments], capture_output=True, text=True, check=False)
        if done.returncode:
            fail(f"buildah {arguments[0]}: {done.stdout[-8000:]}\n{done.stderr[-8000:]}")
        return done.stdout.strip()

    def close(self) -> None:
        """Unmount all, so that the directory can be removed."""
        self.run("umount", "--all")

    def build(self, tag: str, context: Path, *options: str) -> None:
        """Build an image of Docker's format, which has a health check."""
        (self._directory / "policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
        policy = ["--signature-policy", str(self._directory / "policy.json")]
        # buildah would raise limits, which isn't allowed everywhere.
        limits = [f"--ulimit={name}={soft}:{hard}" for name, (soft, hard) in LIMITS.items()]
        ways = ["--isolation", "chroot", "--format", "docker", "--pull=never", *limits]
        self.run("build", *policy, *ways, "--tag", tag, *options, str(context))


def make_base(builder: Builder, directory: Path) -> None:
    """Make the base: Debian with Python, and the options of this machine for apt."""
    directory.mkdir()
    dumped = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=True).stdout
    kept = re.findall(r'(?m)^Acquire::(?:Check-|http::Proxy).* ".+";$', dumped)
    packages = "--include=ca-certificates,python3,python3-venv"
    command = [
        "mmdebstrap",
        "--quiet",
        "--variant=minbase",
        "--dpkgopt=force-unsafe-io",
        packages,
        *(f"--aptopt={line}" for line in kept),
    ]
    subprocess.run([*command, "trixie", str(directory / "base.tar")], check=True)
    (directory / "Dockerfile").write_text("FROM scratch\nADD base.tar /\n")
    builder.build(BASE, directory)


def make_image(builder: Builder) -> tuple[Path, Mapping[str, Any]]:
    """Follow the Dockerfile. Return the root directory and the configuration of the image."""
    # Certificates and settings by which pip on this machine reaches an index of packages.
    given = [path for path in ("/etc/ssl/certs", "/etc/pip.conf") if Path(path).exists()]
    volumes = [option for path in given for option in ("--volume", f"{path}:{path}:ro")]
    builder.build(IMAGE, ROOT, "--build-arg", f"BASE={BASE}", *volumes)
    config = json.loads(builder.run("inspect", "--type", "image", IMAGE))["Docker"]["config"]
    return Path(builder.run("mount", builder.run("from", "--pull=never", IMAGE))), config


def compose_environment() -> dict[str, str]:
    """Return the variables of the bot in the compose file."""
    text = (EXAMPLES / "compose.yaml").read_text("utf-8")
    found = dict(re.findall(r"(?m)^      (ERRKLEIN_\w+): '?(.*?)'?$", text))
    if len(found) < 5:
        fail("the compose file has no variables")
    return found


class Container:
    """A process with the image's configuration, in namespaces of its own."""

    def __init__(self, root: Path, config: Mapping[str, Any], folders: Mapping[str, Path], log: Path) -> None:
        self.log = log
        self._config = config
        self._process: subprocess.Popen[bytes] | None = None
        variables = dict(line.split("=", 1) for line in config["Env"]) | compose_environment()
        # Here, the proxy has another address.
        variables["ERRKLEIN_SET__TRUSTED_PROXIES"] = '{"127.0.0.1" = ["X-Forwarded-For", "X-Forwarded-Proto"]}'
        variables["ERRKLEIN_SET__WEBHOOK_CLIENT_RATE"] = "None"
        uid, gid = config["User"].split(":")
        rights = ["--no-new-privs", "--bounding-set=-all", "--inh-caps=-all", f"--reuid={uid}", f"--regid={gid}"]
        entering = ["env", "-i", "-C", config["WorkingDir"], *(f"{name}={text}" for name, text in variables.items())]
        self._become = ["setpriv", *rights, "--clear-groups", *entering]
        self._folders = {"root": str(root), **{name: str(path) for name, path in folders.items()}}

    def _begin(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        unshared = [
            "unshare",
            "--mount",
            "--pid",
            "--ipc",
            "--uts",
            "--fork",
            "--kill-child",
            "--propagation",
            "private",
        ]
        shell = ["sh", "-euc", ENTER, "sh", *self._become, *command]
        with self.log.open("ab") as output:
            environment = {**os.environ, **self._folders}
            return subprocess.Popen([*unshared, *shell], env=environment, stdout=output, stderr=output)

    def once(self, *command: str) -> int:
        """Run another command than the image's, and return its exit status."""
        return self._begin(command).wait(60)

    def start(self) -> float:
        """Start the image's command, and return the seconds until it accepts webhooks."""
        began = time.monotonic()
        self._process = self._begin([*self._config["Entrypoint"], *self._config["Cmd"]])
        wait(lambda: self._process.poll() is not None or request("GET", "/ready/intake", port=9141)[0] == 200, "ready")
        if self._process.poll() is not None:
            fail(f"the bot has ended:\n{self.log.read_text()[-4000:]}")
        return time.monotonic() - began

    @property
    def pid(self) -> int:
        """The id of the first process in the container, outside of it."""
        outer = self._process.pid
        return int(Path(f"/proc/{outer}/task/{outer}/children").read_text().split()[0])

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the running container, as `docker exec` does."""
        joined = ["nsenter", "--target", str(self.pid), "--mount", "--pid", "--ipc", "--uts", "--root", "--wd"]
        return subprocess.run(
            [*joined, *self._become, *command], capture_output=True, text=True, check=False, timeout=60
        )

    def end(self, number: int) -> tuple[int, float]:
        """Send the signal to the first process. Return the exit status, as a container engine shows it, and the seconds."""
        began = time.monotonic()
        os.kill(self.pid, number)
        status = self._process.wait(60)
        return status if status >= 0 else 128 - status, time.monotonic() - began

    def kill(self) -> None:
        """End what still runs."""
        if self._process is not None and self._process.poll() is None:
            self.end(signal.SIGKILL)


def check_image(root: Path, container: Container) -> None:
    """Check what the image has."""
    size = sum(path.lstat().st_size for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    check(size < 500e6, f"the image has {size / 1e6:.0f} MB")
    check(not (root / "src").exists() and not (root / "opt" / "build").exists(), "nothing of the build is left")
    [packages] = (root / "opt" / "errklein" / "lib").glob("python3.*/site-packages")
    code = list((packages / "errklein").rglob("*.py"))
    missing = [path for path in code if not list((path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"))]
    check(bool(code) and not missing, f"{len(code)} modules have bytecode {missing or ''}")
    check((packages / "twisted" / "plugins" / "dropin.cache").exists(), "Twisted's plugin cache is written")
    check(container.once("errklein", "healthcheck") == 1, "without a bot, the health check fails")


def check_rights(container: Container, health: Sequence[str]) -> None:
    """Check a running bot: its rights, the health check, and that nothing is written outside of /data and /tmp."""
    status = dict(re.findall(r"(\w+):\s*(.*)", container.run("cat", "/proc/1/status").stdout))
    rights = {name: status[name].split()[0] for name in ("Uid", "Gid", "CapEff", "CapBnd", "NoNewPrivs")}
    check(
        rights == {"Uid": "10001", "Gid": "10001", "CapEff": "0" * 16, "CapBnd": "0" * 16, "NoNewPrivs": "1"},
        f"{rights}",
    )
    for path in ("/", "/opt/errklein", "/etc/errklein"):
        tried = container.run("touch", f"{path}/file")
        check(tried.returncode != 0 and "Read-only" in tried.stderr, f"{path} can't be written: {tried.stderr.strip()}")
    done = container.run(*health)
    check(done.returncode == 0 and done.stdout.count("\n") == 1, f"the health check succeeds: {done.stdout.strip()}")
    log = container.log.read_text()
    check(
        not re.search("plugin cache|[Rr]ead-only|Traceback", log),
        "the log has no complaint about what can't be written",
    )


def check_webhook(container: Container, secret: str) -> None:
    """Check the verified webhook of the compose file, with the command that signs a request."""
    checked = container.run("errklein", "check")
    found = checked.stdout.strip().rpartition("\n")[2]
    check(checked.returncode == 0 and "no problems" in found, f"errklein check: {found} {checked.stderr}")
    payload = "/plugins/payloads/github-push.json"
    done = container.run("errklein", "webhook", "test", "GitHub:event", payload, "--event", "push")
    first = done.stdout.partition("\n")[0]
    check(done.returncode == 0 and " 202 " in f"{first} ", f"a signed request is accepted: {first} {done.stderr}")
    refused = request("POST", "/github", X_Hub_Signature_256="sha256=00", X_GitHub_Event="push")
    check(refused[0] in (401, 403), f"one with another signature is refused: {refused[0]}")
    check(secret not in container.log.read_text(), "the log doesn't have the secret")


def check_orphans(container: Container) -> None:
    """Check that ended processes are removed whose parent has ended before."""

    def processes() -> list[str]:
        shown = container.run("sh", "-c", "cat /proc/[0-9]*/stat").stdout
        return re.findall(r"\((.*)\) (\w)", shown)

    before = len(processes())
    check(request("POST", "/orphans")[0] == 200, "a plugin leaves processes behind")
    wait(lambda: len(processes()) <= before, "orphaned processes end and are removed", 10)
    check("Z" not in {state for _, state in processes()}, "no ended process is left")


def check_kill(container: Container) -> float:
    """Check that no acknowledged request is lost by a kill. Return the seconds of the start afterwards."""
    acknowledged: list[int] = []

    def send(first: int) -> None:
        for number in range(first, first + 1000):
            if request("POST", f"/record/{number}")[0] != 202:
                return
            acknowledged.append(number)

    senders = [Thread(target=send, args=[1000 * number]) for number in range(4)]
    for sender in senders:
        sender.start()
    wait(
        lambda: len(acknowledged) >= 200 or not any(sender.is_alive() for sender in senders),
        "200 acknowledged requests",
    )
    status, _ = container.end(signal.SIGKILL)
    for sender in senders:
        sender.join()
    seconds = container.start()

    def missing() -> set[int]:
        return set(acknowledged) - set(json.loads(request("GET", "/recorded")[1])["numbers"])

    left = len(missing())
    wait(lambda: not missing(), "each acknowledged request is handled")
    check(
        status == 137 and len(acknowledged) >= 200,
        f"{len(acknowledged)} requests were acknowledged before SIGKILL; {left} of them were handled after the next start, none is lost",
    )
    return seconds


@contextmanager
def proxy(directory: Path) -> Iterator[int]:
    """Run Caddy with the configuration of the compose file, without certificates. Yields its port."""
    directory.mkdir()
    text = (EXAMPLES / "Caddyfile").read_text("utf-8").replace(" bot:3141 ", " 127.0.0.1:3141 ")
    (directory / "Caddyfile").write_text(text)
    site = {"SITE": "http://127.0.0.1:8080", "HOME": str(directory), "XDG_DATA_HOME": str(directory)}
    command = ["caddy", "run", "--adapter", "caddyfile", "--config", str(directory / "Caddyfile")]
    with (directory / "log").open("wb") as log:
        caddy = subprocess.Popen(command, env={**os.environ, **site}, stdout=log, stderr=log)
    try:
        yield 8080
    finally:
        caddy.terminate()
        caddy.wait(30)


def check_proxy(directory: Path) -> None:
    """Check that requests through Caddy have the client's address and not one that the client chooses."""
    with proxy(directory) as port:
        wait(lambda: request("POST", "/client", port=port)[0] == 200, "Caddy forwards requests", 20)
        forged = request("POST", "/client", port=port, X_Forwarded_For="192.0.2.1", X_Forwarded_Proto="https")
        seen = json.loads(forged[1])
        check(seen == {"address": CLIENT, "url": "http://127.0.0.1:8080/client"}, f"behind Caddy: {seen}")


def check_stop(container: Container) -> float:
    """Check SIGTERM, without and with a handler that doesn't end. Return the seconds of the start in between."""
    [limit] = map(float, re.findall(r"(?m)^    stop_grace_period: (\d+)s$", (EXAMPLES / "compose.yaml").read_text()))
    status, seconds = container.end(signal.SIGTERM)
    check(status in (0, 143) and seconds < limit, f"SIGTERM ends the bot after {seconds:.1f} s with status {status}")
    start = container.start()
    Thread(target=request, args=("POST", "/slow"), daemon=True).start()
    running = 'errklein_pool_running{pool="webhooks"} 1.0'
    wait(lambda: running in request("GET", "/metrics", port=9141)[1], "the handler runs")
    status, seconds = container.end(signal.SIGTERM)
    check(
        status in (0, 143) and seconds < limit,
        f"with a handler that runs for a minute: after {seconds:.1f} s, limit {limit:g} s",
    )
    return start


def make_folders(directory: Path, secret: str) -> Mapping[str, Path]:
    """Create what is mounted: data, plugins and secrets, as the page describes it."""
    folders = {name: directory / name for name in ("data", "plugins", "secrets")}
    for path in folders.values():
        path.mkdir()
    recipes = ROOT / "docs" / "examples" / "recipes"
    for name in ("github.plug", "github.py"):
        shutil.copy(recipes / name, folders["plugins"])
    shutil.copytree(recipes / "payloads", folders["plugins"] / "payloads")
    (folders["plugins"] / "recorder.plug").write_text("[Core]\nName = Recorder\nModule = recorder\n")
    (folders["plugins"] / "recorder.py").write_text(PLUGIN)
    for name, text in (("github", secret), ("identity", IDENTITY)):
        (folders["secrets"] / name).write_text(text)
        (folders["secrets"] / name).chmod(0o400)
        os.chown(folders["secrets"] / name, 10001, 10001)
    os.chown(folders["data"], 10001, 10001)
    folders["data"].chmod(0o700)
    return folders


def build_and_check(work: Path, builder: Builder, began: float) -> None:
    """Build the image in the directory, run it, and check it."""
    make_base(builder, work / "base")
    print(f"the base was made in {time.monotonic() - began:.0f} s", flush=True)
    root, config = make_image(builder)
    print(f"the image was built after {time.monotonic() - began:.0f} s", flush=True)
    check(config["StopSignal"] == "SIGTERM" and config["User"] == "10001:10001", "stop signal and user")
    # The ports are those of the image, in a network without other programs.
    os.unshare(os.CLONE_NEWNET)
    with socket() as any_socket:
        ioctl(any_socket, 0x8914, pack("16sH14s", b"lo", 0x41, b""))
    secret = "a-secret-of-the-webhook"
    container = Container(root, config, make_folders(work, secret), work / "log")
    try:
        check_image(root, container)
        starts = [container.start()]
        [kind, *health] = config["Healthcheck"]["Test"]
        check(kind == "CMD", "the health check needs no shell")
        check_rights(container, health)
        check_webhook(container, secret)
        check_orphans(container)
        check_proxy(work / "caddy")
        starts.append(check_kill(container))
        starts.append(check_stop(container))
        shown = ", ".join(f"{seconds:.1f} s" for seconds in starts)
        # Other programs may have delayed some of them.
        check(min(starts) < READY, f"ready after {shown}")
    finally:
        container.kill()


def main() -> None:
    """Build and check everything in a directory that is removed."""
    # The finally clauses run then, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="image-") as name:
        work = Path(name)
        work.chmod(0o755)
        builder = Builder(work)
        try:
            build_and_check(work, builder, began)
        finally:
            builder.close()
    print(f"image: no problems, after {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
