"""Send large and hostile bodies to each kind of handler, while other routes are measured.

For each kind of body, the server's peak of resident memory, the responses, and the longest response times of two other routes:
one gets 50 bytes, the other one 100 kB of JSON. Run `python benchmarks/large_bodies.py [--only TEXT]`. Exits with 1 if the server needs
600 MB or more, the small request waits for more than 200 ms, the one of 100 kB for more than 500 ms, or either isn't answered with 200.
"""

from __future__ import annotations

import http.client
import json
import multiprocessing
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import bots

PLUGINS = Path(__file__).parent / "plugins_for_large_bodies"
SIZE = 24 * 1024 * 1024
ROUTES = ("/plain", "/async", "/raw", "/raw_async")
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=b"
MOST_MEMORY = 600.0
LONGEST_SMALL = 0.2
LONGEST_100KB = 0.5


@dataclass(frozen=True)
class Load:
    """Bodies of one kind, sent at the same time to each of some routes."""

    name: str
    content_type: str
    body: bytes
    each: int = 3
    routes: tuple[str, ...] = ROUTES


def _part(headers: bytes, content: bytes = b"x") -> bytes:
    return b'--b\r\nContent-Disposition: form-data; name="a"\r\n' + headers + b"\r\n" + content + b"\r\n--b--\r\n"


def _array(item: bytes, count: int) -> bytes:
    return b"[" + item * count + b"1]"


def loads() -> list[Load]:
    """Return the bodies: valid ones, those that are as expensive as the limits allow, and hostile ones."""
    event = {"id": 1, "name": "some text of usual length", "url": "https://example.com/a/b/c/d?e=f", "tags": ["a", "b"]}
    events = json.dumps([event] * (SIZE // 120)).encode()
    numbers = _array(b"1.5,", 999_000)
    return [
        Load("50 bodies of 24 MB, text", "text/plain", b"x" * SIZE, 50, ("/async",)),
        Load("50 bodies of 24 MB, JSON, async", JSON, events, 50, ("/async",)),
        Load("50 bodies of 24 MB, JSON, plain", JSON, events, 50, ("/plain",)),
        Load("[1,1,...]", JSON, _array(b"1,", SIZE // 2)),
        Load("[[],[],...]", JSON, _array(b"[],", SIZE // 3)),
        Load("999,000 numbers", JSON, numbers + b" " * (SIZE - len(numbers))),
        Load("499,000 objects", JSON, _array(b'{"a": "%b"},' % (b"x" * 30), 499_000)),
        Load(
            "text with one emoji",
            JSON,
            '["😀", '.encode() + _array(b'"abcdefgh abcdefgh abcdefgh abcdef",', 680_000)[1:],
        ),
        Load("one string of escapes", JSON, b'["' + b"\\n" * (SIZE // 2) + b'"]'),
        Load("1 MB of [[],[],...]", JSON, _array(b"[],", 349_000), 10),
        Load("form fields", FORM, b"a=1&" * (SIZE // 4)),
        Load("one form field of escapes", FORM, b"a=" + b"%41" * (SIZE // 3)),
        Load("multipart headers", MULTIPART, _part(b"X: y\r\n" * (SIZE // 6))),
        Load("one multipart header, continued", MULTIPART, _part(b"X: y\r\n" + b" y\r\n" * (SIZE // 4))),
        Load("multipart parts", MULTIPART, _part(b"")[:-7] * (SIZE // 56) + b"--b--\r\n"),
        Load("multipart content", MULTIPART, _part(b"", b"x\r\n" * (SIZE // 3))),
    ]


@dataclass
class OtherRoute:
    """Sends one request after the other to a route, and measures its response times."""

    port: int
    path: str
    body: bytes
    pause: float
    times: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)

    def run(self, done: threading.Event) -> None:
        """Send requests until `done` is set, each on a new connection."""
        while not done.is_set():
            begun = time.monotonic()
            self.statuses[post(self.port, self.path, JSON, self.body)] += 1
            self.times.append(time.monotonic() - begun)
            time.sleep(self.pause)

    def longest(self) -> float:
        """The longest response time in seconds."""
        return max(self.times)


def post(port: int, path: str, content_type: str, body: bytes) -> int:
    """Send a request. Return the status of the response; 0 if the connection was closed without one."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        connection.request("POST", path, body, {"Content-Type": content_type})
        with connection.getresponse() as response:
            response.read()
            return response.status
    except OSError:
        return 0
    finally:
        connection.close()


def send_all(port: int, load: Load, results: multiprocessing.Queue[Counter[int]]) -> None:
    """Send a load from threads of this process, and put the statuses into `results`."""
    statuses: Counter[int] = Counter()

    def send(path: str) -> None:
        statuses[post(port, path, load.content_type, load.body)] += 1

    senders = [threading.Thread(target=send, args=(path,)) for path in load.routes for _ in range(load.each)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    results.put(statuses)


def peak_of(pid: int) -> float:
    """Return the peak of a process's resident memory since `forget_peak`, in MB."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def forget_peak(pid: int) -> None:
    """Begin a new measurement of a process's peak of resident memory."""
    Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")


def measure(pid: int, port: int, load: Load) -> bool:
    """Send a load, and print what it does to the server. Return whether the limits hold."""
    small, hundred = (
        OtherRoute(port, "/other", b"{}", 0.005),
        OtherRoute(port, "/other_100kb", b'["' + b"x" * 100_000 + b'"]', 0.02),
    )
    done = threading.Event()
    others = [threading.Thread(target=other.run, args=(done,)) for other in (small, hundred)]
    results: multiprocessing.Queue[Counter[int]] = multiprocessing.Queue()
    sender = multiprocessing.Process(target=send_all, args=(port, load, results))
    forget_peak(pid)
    begun = time.monotonic()
    for process in (sender, *others):
        process.start()
    statuses = results.get()
    took = time.monotonic() - begun
    done.set()
    for process in (sender, *others):
        process.join()
    peak = peak_of(pid)
    print(
        f"{load.name:32} {took:6.1f} s {peak:6.0f} MB {small.longest() * 1000:6.0f} ms {hundred.longest() * 1000:6.0f} ms  "
        f"{_shown(statuses)}; others: {_shown(small.statuses + hundred.statuses)}",
        flush=True,
    )
    answered = set(small.statuses + hundred.statuses) == {200}
    return answered and peak < MOST_MEMORY and small.longest() <= LONGEST_SMALL and hundred.longest() <= LONGEST_100KB


def _shown(statuses: Mapping[int, int]) -> str:
    return ", ".join(f"{count} x {status}" for status, count in sorted(statuses.items()))


def main() -> int:
    """Print one line for each load."""
    only = bots.arguments(__doc__, only="").only
    chosen = [load for load in loads() if only in load.name]
    good = True
    print(f"{'body':32} {'time':>8} {'memory':>9} {'50 B':>9} {'100 kB':>9}  responses")
    for load in chosen:
        with tempfile.TemporaryDirectory() as name:
            port = bots.free_port()
            bot = bots.errklein(Path(name), "Null", port, PLUGINS)
            with bots.serving(bot, port, Path(name, "log")) as pid:
                while post(port, "/other", JSON, b"{}") != 200:
                    time.sleep(0.1)
                good = measure(pid, port, load) and good
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
