"""A process that keeps many requests in progress at every moment: python -m long_tests.acceptance.load PORT N PATH…

N connections for each path send the next request after each response, until standard input ends. The process prints
"loaded" when requests are in progress on all connections. At its end it prints the responses and the lowest number of
requests in progress as one line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import astuple, dataclass, field

from long_tests.acceptance.wire import Answer, Connection


@dataclass
class Load:
    """The requests in progress, and the responses."""

    unanswered: int = 0
    fewest: int = sys.maxsize
    stopping: bool = False
    answers: list[tuple[str, Answer]] = field(default_factory=list)

    async def keep_asking(self, connection: Connection, path: str) -> None:
        """Send requests repeatedly."""
        while not self.stopping:
            self.unanswered += 1
            answer = await connection.ask(path)
            self.unanswered -= 1
            self.answers.append((path, answer))
            if not self.stopping:
                self.fewest = min(self.fewest, self.unanswered)
        connection.close()


async def main(port: int, each: int, paths: list[str]) -> None:
    """Load the server until standard input ends."""
    load = Load()
    asking = []
    for path in paths * each:
        connection = Connection(port)
        await connection.open()
        asking.append((connection, path))
    running = [asyncio.ensure_future(load.keep_asking(connection, path)) for connection, path in asking]
    await asyncio.sleep(0.1)
    load.fewest = load.unanswered
    print("loaded", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    load.stopping = True
    await asyncio.gather(*running)
    print(json.dumps({"fewest": load.fewest, "answers": [(path, *astuple(answer)) for path, answer in load.answers]}))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
