"""Kill a bot while webhooks of rooms are made, changed, rotated and removed over its control socket.

Run `python long_tests/service/kill_webhooks.py [--kills 200] [--seed N]`. Each time, a bot runs on the same data directory, a thread
performs operations one after the other, and SIGKILL ends the bot at a random moment, mostly within an operation. Then the files and
the next process must show, or the program exits with 1:

- Each stored webhook is complete: its values can be read, and the secrets that it names exist.
- An address that was printed, with the secret that was printed with it, gets 202. That of a removed webhook gets 404, and one from
  before the last but one rotation 401. Of the operation that was killed, it is as before or as after, never anything else.
- A webhook that was being made when the bot was killed exists or doesn't; nobody has its address.
- At most two files with secrets are left over for each kill: those of a webhook that was being removed.
"""

from __future__ import annotations

import argparse
import http.client
import random
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from errklein.cli._control import perform
from errklein.config import SecretStore
from errklein.storage import DATABASE, ROOM_WEBHOOKS, SQLiteStorage
from errklein.webhooks.options import RoomWebhook
from tests.processes import TWISTD, Program, free_port, write_config

BODY = b'{"status": "firing", "alerts": []}'
MOST = 12
"""The number of webhooks above which more are removed than made."""
LONGEST = 0.12
"""The seconds for which operations are performed, at most."""
START_LIMIT = 120.0


@dataclass
class Given:
    """An address and a secret as they were printed, and the statuses that a request may get."""

    url: str
    secret: str
    statuses: set[int] = field(default_factory=lambda: {202})


@dataclass
class Made:
    """What is known of a webhook: what was printed of it, the latest last."""

    given: list[Given]


class Experiment:
    """A bot that is killed and started again."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.chance = random.Random(seed)
        self.data, self.port = directory / "data", free_port()
        self.directory = directory
        write_config(directory, {"CORE_PLUGINS": ("Webhooks", "Webserver"), "BOT_LOG_FILE": None})
        self.webhooks: dict[str, Made] = {}
        self.removed: list[Given] = []
        self.unprinted: set[str] = set()
        """Webhooks that were being rotated when the bot was killed, since their last rotation that was printed."""
        self.killed_in: Counter[str] = Counter()
        self.done: Counter[str] = Counter()
        self.number = self.orphans = 0
        self.problems: list[str] = []

    def start(self) -> Program:
        """Start the bot, and wait until it can be used."""
        options = (
            "-n",
            f"--pidfile={self.directory / 'pid'}",
            "errklein",
            "--web",
            f"tcp:{self.port}:interface=127.0.0.1",
        )
        bot = Program(TWISTD, *options, cwd=self.directory)
        limit = time.monotonic() + START_LIMIT
        while True:
            with suppress(OSError, http.client.HTTPException):
                self.status("/")
                return bot
            if bot.process.poll() is not None or time.monotonic() > limit:
                raise SystemExit(f"the bot has not started: {bot.wait()}\n{bot.text}")
            time.sleep(0.01)

    def status(self, path: str, secret: str = "") -> int:
        """Return the status of an alert."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {secret}"} if secret else {})}
            connection.request("POST", path, BODY, headers)
            return connection.getresponse().status

    def run(self) -> None:
        """Perform operations until the bot is killed, then look at what it has left, and at the next process."""
        bot = self.start()
        try:
            self.check()
            thread = threading.Thread(target=self.operate)
            thread.start()
            time.sleep(self.chance.uniform(0, LONGEST))
        finally:
            bot.kill()
        thread.join()
        self.check_files()

    def operate(self) -> None:
        """Perform operations until the bot has ended."""
        with suppress(SystemExit):
            while True:
                self.operate_once()

    def operate_once(self) -> None:
        name = self.chance.choice(sorted(self.webhooks)) if self.webhooks else ""
        makes = not name or self.chance.random() < (0.5 if len(self.webhooks) < MOST else 0.1)
        what = "create" if makes else self.chance.choice(["change", "move", "rotate", "rotate", "remove"])
        self.killed_in[what] += 1
        if what == "create":
            signed = self.chance.random() < 0.6
            self.number += 1
            # The address of a removed one would get 401 if its name was used again.
            name = f"w{self.number}"
            made = self.perform("create", source="alertmanager", room="#ops", name=name, signed=signed)
            self.webhooks[name] = Made([given_of(made)])
        elif what == "rotate":
            given = self.webhooks[name].given
            for one in given[-2:] if name in self.unprinted else given[-2:-1]:
                one.statuses.add(401)
            self.unprinted |= {name}
            given.append(given_of(self.perform("rotate", name=name)))
            self.unprinted -= {name}
            for one in given[:-2]:
                one.statuses = {401}
        elif what == "remove":
            given = self.webhooks[name].given
            for one in given:
                one.statuses.add(404)
            self.perform("remove", name=name)
            del self.webhooks[name]
            self.removed += given
            for one in given:
                one.statuses = {404}
        else:
            option = (
                {"option": "events", "value": "all"}
                if what == "change"
                else {"room": self.chance.choice(["#ops", "#dev"])}
            )
            self.perform(what, name=name, **option)
        self.killed_in[what] -= 1
        self.done[what] += 1

    def perform(self, operation: str, **arguments: object) -> Any:
        return perform(self.data, f"room_webhooks.{operation}", **arguments)

    def check(self) -> None:
        """Compare the statuses of all addresses with those that are expected, and forget what isn't needed any more."""
        for name, made in list(self.webhooks.items()):
            found = [self.try_one(name, one) for one in made.given]
            if 404 in found:
                # Its removal was killed.
                if set(found) != {404}:
                    self.problems.append(f"{name}: only some of its addresses get 404: {found}")
                del self.webhooks[name]
            for one, status in zip(made.given, found, strict=True):
                one.statuses = {status}
            made.given = made.given[-3:]
        for one in self.removed[-5:]:
            self.try_one("a removed one", one)

    def try_one(self, name: str, given: Given) -> int:
        status = self.status(given.url, given.secret)
        if status not in given.statuses:
            self.problems.append(f"{name}: {status} instead of {given.statuses}")
        return status

    def check_files(self) -> None:
        """Look at the values and the secrets that the killed process has left."""
        secrets, used = set(SecretStore.of(self.data).names()), set()
        with closing(SQLiteStorage(self.data / DATABASE)) as storage, closing(storage.open(ROOM_WEBHOOKS)) as store:
            for name in list(store.keys()):
                webhook = RoomWebhook.of_stored(name, store.get(name))
                if not webhook.token and not webhook.secret:
                    self.problems.append(f"{name}: it has neither a token nor a secret")
                used |= {reference.removeprefix("secret:") for reference in webhook.references}
        if missing := used - secrets:
            self.problems.append(f"secrets are missing: {missing}")
        orphans = len(secrets - used)
        if orphans > self.orphans + 2:
            self.problems.append(f"{orphans - self.orphans} secrets are left over by one kill")
        self.orphans = orphans


def given_of(made: dict[str, Any]) -> Given:
    """Return the address and the secret that an operation has printed."""
    return Given("/" + made["url"].split("/", 3)[3], made["secret"])


def main() -> int:
    """Kill the bot as often as the command line says; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    directory = Path(tempfile.mkdtemp(prefix="errklein-kill-webhooks-"))
    try:
        experiment = Experiment(directory, given.seed)
        for number in range(given.kills):
            experiment.run()
            if experiment.problems:
                print("\n".join([f"after kill {number + 1}:", *experiment.problems]))
                return 1
        bot = experiment.start()
        try:
            experiment.check()
        finally:
            bot.kill()
    finally:
        shutil.rmtree(directory)
    print(f"operations done: {dict(experiment.done)}; killed within: {dict(+experiment.killed_in)}")
    print(f"webhooks at the end: {len(experiment.webhooks)}; secrets left over: {experiment.orphans}")
    print("\n".join(experiment.problems) or "all expectations are met")
    return 1 if experiment.problems else 0


if __name__ == "__main__":
    sys.exit(main())
