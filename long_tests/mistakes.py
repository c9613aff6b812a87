"""Error messages that lead to the remedy: mistakes.toml has about 100 mistakes, and this program corrects them.

It knows nothing but the message: general rules, such as "did you mean 'X'?", "expected … such as X" or a command in
quotes, change the input or run the command, and the result is tried. A mistake is solved if the corrected input works
and means what the author intended.

    python long_tests/mistakes.py [--check] [--verbose]

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
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any
from unittest import mock

from errklein.cli import main as errklein
from errklein.running.reactors import install_asyncio_reactor
from errklein.testing import TestBot

HERE = Path(__file__).resolve().parent
MESSAGE = re.compile(r"^(?:problem|warning|errklein): .*(?:\n +.*)*", re.MULTILINE)
"""A message of the check."""
CONTEXT = multiprocessing.get_context("fork")
LIMIT = 90
"""The least number of mistakes that must be solved."""
SIMILAR = 0.6
"""The least similarity of texts that are alike; of others, the first is taken."""
ROUNDS = 3
"""The number of corrections of a mistake, since a corrected input may have another error."""
CONFIG = (
    "BACKEND = 'Test'\nBOT_ADMINS = ('@admin',)\nBOT_EXTRA_PLUGIN_DIR = '{dir}/plugins'\nBOT_DATA_DIR = '{dir}/data'\n"
)


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

    def outcome(self) -> tuple[str, bool]:
        """Return the error message, and whether the input is accepted and intended."""
        message = self.run()
        return message, not message and self.is_intended()


class Setting(Mistake):
    """Lines of config.py."""

    def __init__(self, directory: Path, line: str, condition: str) -> None:
        super().__init__(directory, line, condition)
        self.text = line

    def run(self) -> str:
        """Return the error message."""
        config = self.directory / "config.py"
        config.write_text(CONFIG.format(dir=self.directory) + self.text + "\n", encoding="utf-8")
        status, printed = call("check", "--strict", "--config", str(config))
        return "\n".join(MESSAGE.findall(printed)) if status else ""

    def is_intended(self) -> bool:
        """Return whether the condition holds."""
        names: dict[str, Any] = {}
        exec(CONFIG.format(dir=self.directory) + self.text, names)
        try:
            return bool(eval(self.given[1], names))
        except (NameError, KeyError, TypeError):
            return False


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
        """Return the error message."""
        self.file.write_text(self.text, encoding="utf-8")
        status, printed = call("check", "--strict", "--config", str(self.directory / "config.py"))
        self.printed = printed
        return "\n".join(MESSAGE.findall(printed)) if status else ""

    def is_intended(self) -> bool:
        """Return whether the condition holds."""
        return self.given[1] in self.printed


class CommandLine(Mistake):
    """A command line."""

    def __init__(self, directory: Path, arguments: list[str], beginning: list[str]) -> None:
        super().__init__(directory, beginning)
        self.text = shlex.join(arguments)

    def run(self) -> str:
        """Return the error message."""
        status, printed = call(*shlex.split(self.text))
        return printed if status else ""

    def is_intended(self) -> bool:
        """Return whether the condition holds."""
        return shlex.split(self.text)[: len(self.given[0])] == self.given[0]


class Chat(Mistake):
    """A message to the bot. The reply is a message, until it is the intended one."""

    def __init__(self, directory: Path, text: str, pattern: str) -> None:
        super().__init__(directory, pattern)
        self.text = text

    def run(self) -> str:
        """Return the error message."""
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
        """Return the error message."""
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
            explanation = bot.explanation()
            refused = bot.say("!why refused") if response.status == 401 else []
        finally:
            bot.stop()
        return (
            ""
            if response.status == 200 and "recorded" in response.text
            else "\n".join([response.text, explanation, *refused])
        )


KINDS: dict[str, Callable[..., Mistake]] = {
    "settings": Setting,
    "plugins": PluginFile,
    "command_line": CommandLine,
    "chat": Chat,
    "files": Setting,
    "requests": Request,
}


def prepare(directory: Path) -> None:
    """Write config.py with a plugin, and a data directory with a value and an empty journal."""
    shutil.copytree(HERE / "plugins_for_mistakes", directory / "plugins")
    (directory / "config.py").write_text(CONFIG.format(dir=directory), encoding="utf-8")
    (directory / "payload.json").write_text("{}", encoding="utf-8")
    for name, mode in (("secret", 0o600), ("open_secret", 0o666)):
        (directory / name).write_text("abc", encoding="utf-8")
        (directory / name).chmod(mode)
    command = (sys.executable, "-m", "errklein")
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent)}
    for arguments, given in (("run", "--network", "Text"), ""), (("storage", "set", "Builds"), "{'number': 1}"):
        subprocess.run(
            [*command, *arguments],
            cwd=directory,
            env=environment,
            input=given,
            text=True,
            capture_output=True,
            check=True,
        )


def fill(value: Any, directory: Path) -> Any:
    """Replace {dir} in the texts of a mistake."""
    if isinstance(value, str):
        return value.replace("{dir}", str(directory))
    return [fill(part, directory) for part in value] if isinstance(value, list) else value


LITERAL = r"""'[^']*'|"[^"]*"|\{.*?\}+|\b[\w.]+\.[A-Z]+\b|\b\d+(?:\.\d+)?\b|\bTrue\b|\bFalse\b"""
"""A value in a message."""
WORD = r"[\w.:/<>!@#-]*[\w/>]"
"""A name in a message or in an input."""


def similarity(one: str, other: str) -> float:
    """Return how similar two texts are, from 0 to 1."""
    return SequenceMatcher(None, one.lower().strip("'\""), other.lower().strip("'\"")).ratio()


def replaced(text: str, wrong: str, right: str) -> str:
    """Replace whole words."""
    return re.sub(rf"(?<![\w-]){re.escape(wrong)}(?![\w-])", lambda _: right, text)


def set_value(text: str, name: str, value: str) -> str:
    """Replace the value of a setting, or of a key of a dict on one line."""
    return re.sub(
        rf"""(?m)(^{name} = ).*|(['"]{name}['"]: )('[^']*'|\(.*?\)|\[.*?\]|[^,}}]+)""",
        lambda m: f"{m[1] or m[2]}{value}",
        text,
    )


def suggestion(text: str, message: str) -> Iterator[str]:
    """Replace the word that is most similar to the one after "did you mean"; both are in the message."""
    if found := re.search(r"did you mean:? (.*?)\?", message, re.IGNORECASE):
        rights = re.findall(r"'([^']+)'|\"([^\"]+)\"|(![^!]+?)(?= or |$)|([^\s'\"]+)", found[1])
        names = [name for groups in rights for name in groups if name and name not in ("or", "Otherwise")]
        words = [word for word in re.findall(WORD, text) + re.findall(r"\w+", text) if word.lstrip("!") in message]
        words = [word for word in words if word not in names]
        pairs = [(similarity(name, word), name, word) for name in names for word in words]
        for _, name, word in sorted(pairs, reverse=True)[:2]:
            if name.startswith("!"):
                # A command of several words, before its arguments.
                yield " ".join([name, *text.split()[len(name.split()) :]])
            yield replaced(text, word, name)


def new_name(text: str, message: str) -> Iterator[str]:
    """Replace an old name."""
    if found := re.search(rf"'?({WORD})'?[:;] the new name (?:[\w ]+ )?is '?([^'.;(]+)", message):
        yield replaced(text, found[1], found[2].strip())


def expectation(text: str, message: str) -> Iterator[str]:
    """Replace a value that is not the expected one by the most similar or the first of the expected ones, or an example."""
    found = re.search(rf"expected (.*?),? (?:and )?not ({LITERAL})", message)
    if not found:
        return
    expected, wrong = found[1], found[2]
    values = re.findall(LITERAL, expected)
    if listed := re.search("(?:one of|among)(.*)", expected):
        values += [f"'{word}'" for word in re.findall(WORD, listed[1])]
    if "more than " in expected:
        values = [str(int(value) + 1) for value in values]
    if expected.startswith("a string"):
        values.append(f"'{wrong}'")
    for value in sorted(values, key=lambda value: -max(similarity(value, wrong), SIMILAR))[:2]:
        yield replaced(text, wrong, value) if wrong in text else replaced(text, wrong.strip("'"), value.strip("'"))


def example(text: str, message: str) -> Iterator[str]:
    """Replace a value that the message doesn't repeat, or a wrong word in quotes, by the example."""
    if found := re.search(r"\b(?:such as|as|examples are) (\{.*\}+|'[^']+'|[^\s,;()]+)", message):
        right = found[1]
        if wrong := re.search(r"(?:(?:invalid|unknown) [\w ]+:?|\w+ is) '([^']+)'", message):
            yield replaced(text, wrong[1], right.strip("'"))
        for name in dict.fromkeys(re.findall(r"\b([a-z_]+|[A-Z_]+)['`: ]", message)):
            yield set_value(text, name, right if right[0] in "'{" else f"'{right}'")
        if right.startswith("!"):
            yield re.search(r"such as (.*?)[.;\n]?$", message, re.MULTILINE)[1]


def key_and_value(text: str, message: str) -> Iterator[str]:
    """Set or add a key: "expected KEY = VALUE" in an INI file or "expected KEY=VALUE" in a dict."""
    section = re.search(r"\[(\w+)\]", message)
    if section and (found := re.search(r".*\b(\w+) = ([\w.]+)", message)):
        yield re.sub(rf"(?m)^{found[1]} = .*", f"{found[1]} = {found[2]}", text)
        yield text.replace(section[0], f"{section[0]}\n{found[1]} = {found[2]}", 1)
    if found := re.search(rf"(?:expected|such as) '?(\w+)'?(?:=|: )({LITERAL})", message):
        yield text.replace("}}", f", '{found[1]}': {found[2]}}}}}", 1)
    if found := re.search(r"(?:expected|such as) (?:[\w ]+ )?(--[\w-]+ \S+?)[,;\s]", message):
        yield f"{text} {found[1]}"


def line_before(text: str, message: str) -> Iterator[str]:
    """Insert a line: "line N …; expected … such as X", or "Add `X` at the top"."""
    if found := re.search(r"line (\d+) precedes .* such as (\S+?),", message):
        lines = text.split("\n")
        lines.insert(int(found[1]) - 1, found[2])
        yield "\n".join(lines)
    if found := re.search("Add `(.*)` at the top", message):
        yield f"{found[1]}\n{text}"


def choice(text: str, message: str) -> Iterator[str]:
    """Take one of a list: "allowed: A, B" instead of the word before, or "expected one of A, B" where a word is missing."""
    if found := re.search(rf"({WORD}) is not allowed.*allowed: ([\w, ]+)", message):
        for value in found[2].split(", "):
            yield replaced(text, found[1], value)
    if found := re.search(rf"expected one of ({WORD}(?:, {WORD})*)", message):
        for value in found[1].split(", "):
            wrong = re.search(r"unknown \w+ '([^']+)'", message)
            yield replaced(text, wrong[1], value) if wrong else f"{text} {value}"


def removal(text: str, message: str) -> Iterator[str]:
    """Remove the line of something that isn't supported."""
    if found := re.search(r"([\w-]+) '(.*?)' is not supported", message):
        yield "\n".join(line for line in text.split("\n") if not line.startswith(f"{found[1]}: {found[2]}"))


def usage(text: str, message: str) -> Iterator[str]:
    """Correct an argument by argparse's messages, which the usage follows."""
    if found := re.search(r"required: (\w+)", message):
        yield f"{text} {found[1]}"
    if found := re.search(r"unrecognized arguments: (--\w+)", message):
        for option in re.findall(r"\[(--\w+)", message):
            yield replaced(text, found[1], option)
    if found := re.search("invalid int value: '(.*?)'", message):
        yield replaced(text, found[1], "1")


def difference(text: str, message: str) -> Iterator[str]:
    """Replace what there is by what should be: "must be … X …; it is Y", "has no X; it has Y"."""
    if found := re.search(r"must be [^(;]*\((\S+).*; it is '(.*?)'", message):
        yield replaced(text, found[2], found[1])
    if found := re.search(r"has no \w+ '(.*?)'; it has '(.*?)'(?:$|\"|,)", message):
        yield text.replace(found[2].replace('\\"', '"'), found[1])


def action(text: str, message: str) -> Iterator[str]:
    """Run a command, write a file or set a variable of the environment, and try the same input again."""
    if found := re.search(r"(?:run|with|by) [`']?((?:chmod|mkdir) [^`'\n;]+)", message):
        subprocess.run(shlex.split(found[1]), check=True)
        yield text
    if found := re.search(r"write the secret to (\S+)", message):
        Path(found[1]).write_text("abc", encoding="utf-8")
        Path(found[1]).chmod(0o600)
        yield text
    if found := re.search(r"set (?:the (?:environment )?variable )?([A-Z_]+)", message):
        os.environ[found[1]] = "abc"
        yield text


RULES = (
    new_name,
    suggestion,
    expectation,
    key_and_value,
    line_before,
    action,
    choice,
    usage,
    difference,
    removal,
    example,
)


def solve(mistake: Mistake, message: str, rounds: int = ROUNDS) -> bool:
    """Correct the input by the message until it is accepted and intended."""
    wrong = mistake.text
    tried = {wrong}
    for rule in RULES:
        for text in rule(wrong, message):
            if text in tried and rule is not action:
                continue
            tried.add(text)
            mistake.text = text
            further, intended = forked(mistake.outcome)
            if intended or (further and further != message and rounds > 1 and solve(mistake, further, rounds - 1)):
                return True
    mistake.text = wrong
    return False


def main() -> None:
    """Count the mistakes that are solved, and print the others with their messages."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--verbose", action="store_true", help="print the solved ones, too")
    parser.add_argument("--only", choices=tuple(KINDS))
    options = parser.parse_args()
    # The forks needn't import these again.
    install_asyncio_reactor()
    import errklein.cli._check
    import errklein.compat.bot  # noqa: F401

    total = solved = 0
    template = Path(tempfile.mkdtemp(prefix="mistakes-"))
    prepare(template)
    for kind, table in tomllib.loads((HERE / "mistakes.toml").read_text(encoding="utf-8")).items():
        for given in table["mistakes"]:
            if options.only not in (None, kind):
                continue
            with tempfile.TemporaryDirectory(prefix="mistakes-") as name, mock.patch.dict(os.environ, GH_SECRET="abc"):
                directory = Path(name, "bot")
                shutil.copytree(template, directory)
                (directory / "config.py").write_text(CONFIG.format(dir=directory), encoding="utf-8")
                os.chdir(directory)
                mistake = KINDS[kind](directory, *fill(given, directory))
                message, _ = forked(mistake.outcome)
                is_solved = bool(message) and solve(mistake, message)
                total += 1
                solved += is_solved
                if options.verbose or not is_solved:
                    print(f"{'solved' if is_solved else 'not solved'}: {given}\n    {message.strip() or 'not noticed'}")
                    if is_solved and kind != "plugins":
                        print(f"    corrected: {mistake.text}")
                os.chdir("/")
    shutil.rmtree(template)
    print(f"{solved} of {total} mistakes are solved by their messages")
    if options.check and solved < LIMIT:
        sys.exit(f"fewer than {LIMIT} are solved")


if __name__ == "__main__":
    main()
