"""errbot's backends on PyPI, unchanged, on errbot and on errklein: compares start, connection and messages.

The packages are directories below a given one, as `pip install --no-deps --target` creates them. Their services are
replaced, see network_services.py. The result is a table in Markdown.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import subprocess
import sys
import tempfile
import threading
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from queue import Empty

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from network_services import SERVICES, Service  # noqa: E402

LIMIT = 90.0
"""The limit in seconds for one backend on one bot."""
FIRST_ANSWER = 5.0
QUIET = 1.0


@dataclass(frozen=True)
class Tried:
    """A package, and Alice's messages."""

    title: str
    package: str
    """The name and version on PyPI."""
    say: Sequence[str]
    note: str = ""
    in_order: bool = True
    """False if the backend sends several messages at once, so that they arrive in any order."""

    @property
    def directory(self) -> str:
        """The directory of the package, below the given one."""
        return self.package.split()[0].replace("-", "_")


_SAID = ("!shout it's me", "!sender", "!count", "!essay 40", "!echo that", "!nothing of the kind")
TRIED = (
    Tried("SlackV3", "errbot-backend-slackv3 0.3.2", (*_SAID, "!tell @alice"), "events by HTTP"),
    Tried("Discord", "err-backend-discord 4.0.0", _SAID),
    Tried(
        "APRS",
        "err-aprs-backend 0.5.1",
        ("!echo that", "!count", "!sender", "!help"),
        "`!help` is its own plugin's, which needs WebTest too; that comes with errbot",
    ),
    Tried("Mattermost", "err-backend-mattermost 3.0.0", ("!count",), "its driver needs Python 3.10 or older"),
    Tried(
        "Mattermost, asyncio.coroutine put back",
        "err-backend-mattermost 3.0.0",
        (*_SAID, "!tell @alice"),
        "on a Python that has what its driver needs",
    ),
    Tried("Matrix", "errbot-backend-matrix 0.0.1", ("!count",), "its .plug names a module that isn't beside it"),
    Tried(
        "Matrix, its .plug put right",
        "errbot-backend-matrix 0.0.1",
        (*_SAID, "!tell @alice:x"),
        "its messages don't wait for each other: compared in any order",
        in_order=False,
    ),
    Tried("Webapp", "errbot-backend-webapp 0.1.0", ("!count",), "its Flask-Sockets needs an older Werkzeug"),
)


@dataclass(frozen=True)
class Seen:
    """The behaviour of a backend on one bot."""

    made: bool = False
    listening: bool = False
    said: Sequence[tuple[str, Sequence[Sequence[str]]]] = ()
    error: str = ""


def try_network(title: str, files: Path, on_errklein: bool, say: Sequence[str], tell: Callable[[Seen], None]) -> None:
    """Run a bot on the backend in this process, which ends with it, and report its behaviour."""
    if on_errklein:
        sys.path.insert(0, str(HERE.parent))
        from errklein import compat

        compat.install()
    from errbot.bootstrap import bot_config_defaults, setup_bot

    service: Service = SERVICES[title]()
    settings = dict(service.settings)
    settings |= service.install(files)
    data = tempfile.mkdtemp(dir=Path.cwd())
    config = types.SimpleNamespace(
        BACKEND=service.network,
        BOT_ASYNC=True,
        BOT_DATA_DIR=data,
        BOT_LOG_FILE=f"{data}/log.txt",
        BOT_LOG_LEVEL=logging.DEBUG,
        BOT_EXTRA_PLUGIN_DIR=[str(HERE / "plugins_for_networks"), *settings.pop("BOT_EXTRA_PLUGIN_DIR", ())],
        BOT_PREFIX="!",
        STORAGE="Memory",
        **settings,
    )
    bot_config_defaults(config)
    bot = setup_bot(service.network, logging.getLogger(), config)
    tell(Seen(made=True))

    def talk() -> None:
        said: list[tuple[str, Sequence[Sequence[str]]]] = []
        listening = False
        try:
            service.wait_until_listening(bot)
            listening = True
            _all_said(service, QUIET)
            for where in service.rooms:
                for text in say:
                    service.say(where, text)
                    said.append((f"{text} ({where})", _all_said(service, FIRST_ANSWER)))
            tell(Seen(made=True, listening=True, said=said))
        except Exception as problem:
            tell(Seen(made=True, listening=listening, said=said, error=f"{type(problem).__name__}: {problem}"))
        finally:
            sys.stdout.flush()
            os._exit(0)

    threading.Thread(target=talk, daemon=True).start()
    try:
        bot.serve_forever()
    except Exception as problem:
        tell(Seen(made=True, error=f"{type(problem).__name__}: {problem}"))
        os._exit(0)


def _all_said(service: Service, patience: float) -> list[tuple[str, str]]:
    messages: list[tuple[str, str]] = []
    while True:
        try:
            messages.append(service.said.get(timeout=QUIET if messages else patience))
        except Empty:
            return messages


def seen_by(python: str, tried: Tried, files: Path, on_errklein: bool) -> Seen:
    """Return the behaviour of the backend on a bot in its own process."""
    with tempfile.TemporaryDirectory(prefix="networks-") as scratch:
        command = [python, str(HERE / "networks.py"), "--worker", "errklein" if on_errklein else "errbot"]
        command += ["--only", tried.title, str(files)]
        paths = [str(files), os.environ.get("PYTHONPATH", "")]
        surroundings = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        try:
            finished = subprocess.run(
                command, cwd=scratch, capture_output=True, text=True, timeout=LIMIT, env=surroundings, check=False
            )
            lines = [line for line in finished.stderr.strip().splitlines() if line.strip()] or ["nothing"]
        except subprocess.TimeoutExpired:
            lines = [f"not finished after {LIMIT:.0f} s"]
        result = Path(scratch) / "result.json"
        if not result.exists():
            return Seen(error=lines[-1])
        seen = Seen(**json.loads(result.read_text(encoding="utf-8")))
        if tried.in_order:
            return seen
        return replace(seen, said=[(text, sorted(answers)) for text, answers in seen.said])


def row(tried: Tried, errbot: Seen, errklein: Seen) -> str:
    """Return a line of the table."""
    same = sum(left == right and bool(left[1]) for left, right in zip(errbot.said, errklein.said, strict=False))
    said = ", ".join(f"`{text}`" for text in tried.say)
    asked = max(len(errbot.said), len(errklein.said))
    states = [f"{_yes(errbot, state)} / {_yes(errklein, state)}" for state in ("made", "listening")]
    answers = f"{same} of {asked}" if asked else "-"
    return "| " + " | ".join([tried.title, tried.package, *states, said, answers, tried.note]) + " |"


def _yes(seen: Seen, state: str) -> str:
    return "yes" if getattr(seen, state) else "no"


def differences(errbot: Seen, errklein: Seen) -> list[str]:
    """Return lines about errors, and about differences between the bots."""
    lines = [f"{name}: {seen.error}" for name, seen in (("errbot", errbot), ("errklein", errklein)) if seen.error]
    for left, right in zip(errbot.said, errklein.said, strict=False):
        if left != right or not left[1]:
            lines += [f"{left[0]!r}", f"    errbot:   {left[1]!r}", f"    errklein: {right[1]!r}"]
    return lines


HEAD = """\
| network | package | made on errbot / errklein | listens | said | same answers | |
|---|---|---|---|---|---|---|"""


def main() -> None:
    """Print the table, and the differences below it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path, help="where the packages are")
    parser.add_argument("--worker", choices=("errbot", "errklein"), help=argparse.SUPPRESS)
    parser.add_argument("--errbot", default=sys.executable, help="an interpreter that has errbot and the SDKs")
    parser.add_argument(
        "--errklein", default=sys.executable, help="an interpreter that has errklein's needs and the SDKs"
    )
    parser.add_argument("--only", default="", help="only networks with this in their title")
    options = parser.parse_args()
    if options.worker:
        (tried,) = [tried for tried in TRIED if tried.title == options.only]
        try_network(options.only, options.directory, options.worker == "errklein", tried.say, _written)
        return
    _compare(options, print)


def _written(seen: Seen) -> None:
    Path("result.json").write_text(json.dumps(vars(seen)), encoding="utf-8")


def _compare(options: argparse.Namespace, tell: Callable[[str], None]) -> None:
    tell(HEAD)
    below: list[str] = []
    for tried in TRIED:
        files = options.directory / tried.directory
        if options.only not in tried.title:
            continue
        errbot = seen_by(options.errbot, tried, files, on_errklein=False)
        errklein = seen_by(options.errklein, tried, files, on_errklein=True)
        tell(row(tried, errbot, errklein))
        below += [f"{tried.title}: {line}" for line in differences(errbot, errklein)]
    tell("")
    for line in below:
        tell(line)


if __name__ == "__main__":
    main()
