"""The scenario reload under load: a plugin is reloaded repeatedly while hundreds of requests to it are in progress."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

from long_tests.acceptance.talking import talking
from long_tests.acceptance.wire import Answer, Connection, in_short, run, slowest, statuses
from tests.processes import ROOT, Program, write_plugin

OTHERS_LIMIT = 0.050
"""The limit in seconds for requests to another plugin meanwhile."""

UNANSWERED = 200
"""The number of requests that must be in progress at every moment."""

PATHS = ("/blocking", "/async")

PLUGIN = """
    import time
    from errklein import BotPlugin, webhook
    from twisted.internet import reactor, task
    import part

    VERSION = {version:3}

    class Reloaded(BotPlugin):
        def activate(self):
            super().activate()
            self.activated = VERSION

        @webhook
        def blocking(self, request):
            began = time.monotonic()
            time.sleep(0.1)
            return f"{{VERSION}} {{part.VERSION}} {{self.activated}} {{began}}"

        @webhook("/async")
        async def not_blocking(self, request):
            began = time.monotonic()
            await task.deferLater(reactor, 0.4)
            return f"{{VERSION}} {{part.VERSION}} {{self.activated}} {{began}}"
"""

OTHER = """
    from errklein import BotPlugin, webhook

    class Other(BotPlugin):
        @webhook
        async def other(self, request):
            return "other"
"""


@dataclass(frozen=True)
class Begun:
    """The content of a response: the versions of the code, and the time at which the handler began."""

    path: str
    version: int
    mixed: bool
    began: float


@dataclass(frozen=True)
class Figures:
    """The measured figures. `replied` has the time of the reply to each reload, in order."""

    replied: Sequence[float]
    reloads: Sequence[float]
    fewest: int
    answers: Sequence[tuple[str, Answer]]
    others: Sequence[Answer]
    seconds: float

    @property
    def bodies(self) -> list[Begun]:
        """The contents of the successful responses."""
        found = []
        for path, answer in self.answers:
            if answer.status == 200:
                version, part, activated, began = answer.body.split()
                found.append(Begun(path, int(version), not version == part == activated, float(began)))
        return found

    @property
    def late(self) -> list[Begun]:
        """The requests that began with old code after the reply to the reload that replaced it."""
        return [begun for begun in self.bodies if begun.version < len(self.replied) and self._replaced_before(begun)]

    def _replaced_before(self, begun: Begun) -> bool:
        return begun.began > self.replied[begun.version]

    def report(self) -> str:
        """Return the figures as text."""
        answers = [answer for _, answer in self.answers]
        kinds = Counter(path for path, _ in self.answers)
        seen = Counter(begun.version for begun in self.bodies)
        return f"""\
{len(self.replied)} reloads in {self.seconds:.1f} s: {in_short(self.reloads)}
{len(answers)} responses ({", ".join(f"{count} from {path}" for path, count in kinds.items())}): {statuses(answers)}
requests in progress: at least {self.fewest}; longest wait {max(answer.took for answer in answers):.2f} s
versions seen: {len(seen)} of {len(self.replied) + 1}, each in at least {min(seen.values(), default=0)} responses
old code after the reply: {len(self.late)}; mixed versions: {sum(begun.mixed for begun in self.bodies)}
{len(self.others)} requests to another plugin meanwhile: {in_short([answer.took for answer in self.others])}"""

    def problems(self, share: float = 1.0) -> list[str]:
        """Return a line for each failed expectation.

        Only the given share of the other plugin's responses must be quick, since other processes can slow down the
        machine.
        """
        found = []
        if any(answer.status != 200 for _, answer in self.answers):
            found.append(f"responses: {statuses([answer for _, answer in self.answers])}")
        for path in PATHS:
            missing = set(range(1, len(self.replied) + 1)) - {each.version for each in self.bodies if each.path == path}
            if missing:
                found.append(f"no response of {path} from the versions {sorted(missing)}")
        found += [f"old code {b.began - self.replied[b.version]:.4f} s after the reply: {b}" for b in self.late]
        found += [f"mixed versions: {begun}" for begun in self.bodies if begun.mixed]
        if self.fewest < UNANSWERED:
            found.append(f"only {self.fewest} requests were in progress")
        if any(answer.status != 200 for answer in self.others):
            found.append(f"another plugin: {statuses(self.others)}")
        if slowest([answer.took for answer in self.others], share) >= OTHERS_LIMIT:
            found.append(f"another plugin was slow: {in_short([answer.took for answer in self.others])}")
        return found


class OtherPluginClient(threading.Thread):
    """A thread that sends requests to another plugin, at most a hundred per second."""

    def __init__(self, port: int) -> None:
        super().__init__(name="other_plugin")
        self.answers: list[Answer] = []
        self.ended = threading.Event()
        self._port = port

    def run(self) -> None:
        """Send requests until `ended` is set."""
        run(self._ask())

    async def _ask(self) -> None:
        connection = Connection(self._port)
        await connection.open()
        while not self.ended.wait(0.01):
            self.answers.append(await connection.ask("/other"))
        connection.close()


def write_version(folder: Path, version: int) -> None:
    """Write a new version of the plugin and its helper module.

    All versions have the same size, and some the same time in seconds, so that a cache by size and time would fail.
    """
    (folder / "reloaded.py").write_text(dedent(PLUGIN.format(version=version)))
    (folder / "part.py").write_text(f"VERSION = {version:3}\n")


def reload_under_load(directory: Path, *, reloads: int = 50, each: int = 110, between: float = 0.4) -> Figures:
    """Reload the plugin repeatedly, with `each` requests to each kind of handler in progress."""
    plugins = directory / "plugins"
    write_plugin(plugins, "Reloaded", "")
    write_version(plugins / "reloaded", 0)
    with talking(directory, {"Other": OTHER}) as bot, loading(bot.port, each) as load:
        other_plugin = OtherPluginClient(bot.port)
        other_plugin.start()
        began = time.monotonic()
        replied, took = [], []
        try:
            for version in range(1, reloads + 1):
                write_version(plugins / "reloaded", version)
                asked = time.monotonic()
                replied.append(bot.say("!plugin reload Reloaded", "Plugin Reloaded reloaded."))
                took.append(replied[-1] - asked)
                time.sleep(between)
        finally:
            seconds = time.monotonic() - began
            other_plugin.ended.set()
            other_plugin.join()
        assert load.wait() == 0, load.text
        loaded = json.loads(load.text.splitlines()[-1])
    answers = [(path, Answer(*answer)) for path, *answer in loaded["answers"]]
    return Figures(replied, took, loaded["fewest"], answers, other_plugin.answers, seconds)


@contextmanager
def loading(port: int, each: int) -> Iterator[Program]:
    """Run a process that keeps `each` requests for each of PATHS in progress, until its standard input is closed."""
    command = [sys.executable, "-m", "long_tests.acceptance.load", str(port), str(each), *PATHS]
    load = Program(command, cwd=ROOT, stdin=subprocess.PIPE)
    try:
        load.wait_for("loaded")
        yield load
    finally:
        load.kill()
