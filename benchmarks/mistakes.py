"""Error messages that lead to the remedy: mistakes.toml has 100 mistakes, and this program corrects them.

It knows nothing but the message: general rules, such as "did you mean 'X'?", "expected … such as X" or a command in
quotes, change the input or run the command, and the result is tried. A mistake is solved if the corrected input works
and means what the author intended.

    python benchmarks/mistakes.py [--check] [--verbose]

With --check, exits with 1 if fewer than 90 are solved.
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import os
import re
import shlex
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from unittest import mock

from errklein.cli import main as errklein
from errklein.testing import TestBot

HERE = Path(__file__).resolve().parent
CONTEXT = multiprocessing.get_context("fork")
LIMIT = 90
"""The least number of mistakes that must be solved."""
ROUNDS = 3
"""The number of corrections of a mistake, since a corrected input may have another error."""
CONFIG = "BACKEND = 'Test'\nBOT_ADMINS = ('@admin',)\nBOT_EXTRA_PLUGIN_DIR = '{dir}/plugins'\nBOT_DATA_DIR = '{dir}/data'\n"


def call(*arguments: str) -> tuple[int, str]:
    """Run the command `errklein` in this process and return its exit status and what it prints."""
    printed = io.StringIO()
    with redirect_stdout(printed), redirect_stderr(printed):
        try:
            status: Any = errklein(arguments)
        except SystemExit as ended:
            status = ended.code
    if isinstance(status, str):
        printed.write(status)
    return (status if isinstance(status, int) else int(status is not None)), printed.getvalue()


def forked(work: Callable[[], Any]) -> Any:
    """Return the result of the function in a fork, since a reactor can't run twice in a process."""
    reading, writing = CONTEXT.Pipe(duplex=False)
    process = CONTEXT.Process(target=lambda: writing.send(work()))
    process.start()
    writing.close()
    result = reading.recv()
    process.join()
    return result


class Mistake:
    """A mistake as text that can be edited. A subclass runs it and says whether the result is the intended one."""

    def __init__(self, directory: Path, *given: Any) -> None:
        self.directory = directory
        self.given = given
        self.text = ""

    def run(self) -> str:
        """Return the error message; "" if the input is accepted."""
        raise NotImplementedError

    def is_intended(self) -> bool:
        """Return whether the accepted input means what was intended."""
        return True


class Setting(Mistake):
    """Lines of config.py."""

    def __init__(self, directory: Path, line: str, condition: str) -> None:
        super().__init__(directory, line, condition)
        self.text = line

    def run(self) -> str:
        config = self.directory / "config.py"
        config.write_text(CONFIG.format(dir=self.directory) + self.text + "\n", encoding="utf-8")
        status, printed = call("check", "--strict", "--config", str(config))
        return printed[max(printed.find("\nproblem"), 0):] if status else ""

    def is_intended(self) -> bool:
        names: dict[str, Any] = {}
        exec(CONFIG.format(dir=self.directory) + self.text, names)
        return bool(eval(self.given[1], names))


class PluginFile(Mistake):
    """A file of a plugin."""

    def __init__(self, directory: Path, name: str, right: str, wrong: str, condition: str) -> None:
        super().__init__(directory, name, condition)
        self.file = directory / "plugins" / name
        text = self.file.read_text(encoding="utf-8")
        if right not in text:
            raise ValueError(f"{name} has no {right!r}")
        self.text = text.replace(right, wrong, 1)

    def run(self) -> str:
        self.file.write_text(self.text, encoding="utf-8")
        status, printed = call("check", "--strict", "--config", str(self.directory / "config.py"))
        self.printed = printed
        return printed[max(printed.find("\nproblem"), 0):] if status else ""

    def is_intended(self) -> bool:
        return self.given[1] in self.printed


class CommandLine(Mistake):
    """A command line."""

    def __init__(self, directory: Path, arguments: list[str], beginning: list[str]) -> None:
        super().__init__(directory, beginning)
        self.text = shlex.join(arguments)

    def run(self) -> str:
        status, printed = call(*shlex.split(self.text))
        return printed if status else ""

    def is_intended(self) -> bool:
        return shlex.split(self.text)[: len(self.given[0])] == self.given[0]


class Chat(Mistake):
    """A message to the bot. The reply is a message, until it is the intended one."""

    def __init__(self, directory: Path, text: str, pattern: str) -> None:
        super().__init__(directory, pattern)
        self.text = text

    def run(self) -> str:
        bot = TestBot(plugin_dirs=[self.directory / "plugins"])
        bot.start()
        try:
            bot.post("/builds/shop", json={})
            reply = "\n".join(bot.say(self.text))
        finally:
            bot.stop()
        return "" if re.search(self.given[0], reply) else reply


class Request(Mistake):
    """A request to the bot, as text: the request line, headers, an empty line, the body."""

    def __init__(self, directory: Path, method: str, url: str, headers: dict[str, str], body: str) -> None:
        super().__init__(directory)
        self.text = "\n".join([f"{method} {url}", *(": ".join(header) for header in headers.items()), "", body])

    def run(self) -> str:
        head, _, body = self.text.partition("\n\n")
        (first, *lines) = head.split("\n")
        method, url = first.split(" ", 1)
        bot = TestBot(plugin_dirs=[self.directory / "plugins"])
        bot.start()
        try:
            headers = dict(line.split(": ", 1) for line in lines)
            responses: list[Any] = []
            bot.request(method, url, data=body, headers=headers).addCallback(responses.append)
            (response,) = responses
            why = bot.say("!why refused")[0] if response.status == 401 else ""
        finally:
            bot.stop()
        return "" if response.status == 200 else f"{response.text}\n{why}"


KINDS: dict[str, Callable[..., Mistake]] = {
    "settings": Setting,
    "plugins": PluginFile,
    "command_line": CommandLine,
    "chat": Chat,
    "files": Setting,
    "requests": Request,
}


def prepare(directory: Path) -> None:
    shutil.copytree(HERE / "plugins_for_mistakes", directory / "plugins")
    (directory / "config.py").write_text(CONFIG.format(dir=directory), encoding="utf-8")
    (directory / "payload.json").write_text("{}", encoding="utf-8")
    for name, mode in (("secret", 0o600), ("open_secret", 0o666)):
        (directory / name).write_text("abc", encoding="utf-8")
        (directory / name).chmod(mode)


def fill(value: Any, directory: Path) -> Any:
    if isinstance(value, str):
        return value.replace("{dir}", str(directory))
    return [fill(part, directory) for part in value] if isinstance(value, list) else value

if __name__ == "__main__":
    import time
    os.environ["GH_SECRET"] = "abc"
    for kind, table in tomllib.loads((HERE / "mistakes.toml").read_text()).items():
        for given in table["mistakes"]:
            with tempfile.TemporaryDirectory() as name:
                d = Path(name)
                prepare(d)
                os.chdir(d)
                m = KINDS[kind](d, *fill(given, d))
                t=time.time()
                try:
                    r = forked(m.run)
                except Exception as e:
                    r = f"!!!!!!!!!!!! {e!r}"
                print("##", kind, repr(m.text[:150] if kind != "plugins" else given[1:3]), round(time.time()-t,2), "\n      ", r.replace(str(d), "DIR"), flush=True)
