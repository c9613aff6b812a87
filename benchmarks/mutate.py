"""Change modules in many small ways, and count how many of the changes their tests notice.

Run `pip install cosmic-ray`, and then `python benchmarks/mutate.py TARGET [--jobs 2]`. The targets are `http1`, the rules of HTTP,
which take about five minutes of CPU time, `verify`, the verification of webhooks' sources, `journal`, their stores and queue, which
take about 20 minutes, `outbox`, what is sent and which origin is next, which take about 40 minutes, and `status`. With `--module _queue`, only modules whose names contain this are changed, and with `--every 4`, only
each fourth change is tested. The changes are of two kinds:

- cosmic-ray's, in the code;
- changes of patterns of bytes, which cosmic-ray doesn't read: each alternative, atom, class, range, quantifier and lookaround is
  removed, widened, narrowed or negated. Each other byte string is emptied.

No file is changed: each change is loaded in a process of its own. One that can't be loaded, such as an invalid pattern, doesn't count,
nor does one of an annotation. Tests that take too long have noticed the change. Prints the scores, and each change that no test
notices. Many of those change nothing: a byte that no header may contain is added to white space in a header, or a comparison of
numbers of lines is replaced by another one with the same result. Exits with 1 if a score is below 90 %.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import importlib
import importlib.abc
import importlib.util
import io
import itertools
import os
import re
import resource
import signal
import sys
import tokenize
import unittest
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from cosmic_ray import plugins
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from hypothesis import Phase, settings

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))


@dataclass(frozen=True)
class Target:
    """The tests of each module, which is named by its path, and the number of examples of a property test.

    A test that takes more CPU time than `limit`, in seconds, has noticed the change, such as one that makes a loop endless.
    """

    tests: Mapping[str, Sequence[str]]
    examples: int
    limit: int = 60

    def modules(self, part: str) -> dict[str, Module]:
        """Return the modules whose names contain a text, by their names."""
        found = {}
        for path, tests in self.tests.items():
            for file in sorted((ROOT / "errklein").glob(path)):
                name = ".".join(file.relative_to(ROOT).with_suffix("").parts)
                if part in name:
                    found[name] = Module(file.read_text(encoding="utf-8"), tests)
        return found


class Module(NamedTuple):
    """The source of a module, and its tests."""

    source: str
    tests: Sequence[str]


_CONTRACT = ("tests.journal.test_contract", "tests.journal.test_model")
_STORED = (
    *_CONTRACT,
    *(f"tests.journal.test_sqlite.{case}Tests" for case in ("ManyRoutes", "Restart", "Secrets")),
    "tests.journal.test_retention",
    "tests.journal.test_archive.ArchiveTests",
)
_IRC = tuple(f"tests.backends.irc.test_{case}" for case in ("transmission", "transport", "confirmation"))

TARGETS = {
    "http1": Target(
        {
            "web/_http1.py": (
                "tests.web.test_http1_grammar",
                "tests.web.test_http1",
                "tests.web.test_http1_llhttp",
                "tests.web.test_http1_conformance.InMemoryTests",
            )
        },
        100,
    ),
    "journal": Target(
        {
            "journal/_queue.py": ("tests.journal.test_queue",),
            "journal/_retry_policy.py": ("tests.journal.test_queue",),
            "journal/_memory.py": (*_CONTRACT, "tests.journal.test_retention.MemoryTests", "tests.journal.test_queue"),
            "journal/_bounds.py": ("tests.journal.test_bounds", *_CONTRACT),
            "journal/_rows.py": (*_STORED, "tests.journal.test_redaction.HeadTests"),
            "journal/_reading.py": _STORED,
            "journal/_writing.py": _STORED,
            "journal/_archive.py": ("tests.journal.test_archive.ArchiveTests",),
            "journal/_retention.py": ("tests.journal.test_retention",),
            "journal/_redaction.py": ("tests.journal.test_redaction", "tests.journal.test_contract"),
            "journal/_sqlite.py": (
                *_STORED,
                *(
                    f"tests.journal.test_sqlite.{case}Tests"
                    for case in ("FilePermission", "FullDisk", "Log", "SlowDisk", "Thread")
                ),
                "tests.journal.test_archive.RunningBotTests",
            ),
            "database/_group_commit.py": ("tests.database.test_group_commit",),
        },
        20,
        limit=5,
    ),
    "outbox": Target(
        {
            "backends/outbox/_[a-z]*.py": ("tests.backends.outbox.test_lanes", "tests.backends.outbox.test_outbox"),
            "journal/_outbox_store.py": ("tests.journal.test_outbox_store", "tests.journal.test_outbox_contract"),
            "running/_fair_queue.py": ("tests.running.test_fair_queue", "tests.running.test_pool"),
            "running/pool.py": ("tests.running.test_pool", "tests.running.test_threads"),
            "backends/irc/_transmission.py": _IRC,
            "backends/irc/_unconfirmed.py": _IRC,
            "backends/irc/_rate_limiter.py": ("tests.backends.irc.test_rate_limiter", *_IRC),
            "text/neutralising.py": ("tests.text.test_neutralising",),
            "plugins/_shared_values.py": ("tests.plugins.test_mutable",),
        },
        20,
        limit=10,
    ),
    "status": Target(
        {
            "bot/_health.py": ("tests.status.test_readiness", "tests.bot.test_health"),
            "status/_metrics.py": ("tests.status.test_metrics",),
            "status/_readiness.py": ("tests.status.test_readiness",),
            "status/_server.py": (
                "tests.status.test_readiness",
                "tests.status.test_metrics",
                "tests.status.test_server.PageTests",
            ),
        },
        20,
        limit=20,
    ),
    "verify": Target(
        {
            "verify/_[a-z]*.py": (
                "tests.verify.test_vectors",
                "tests.verify.test_sources",
                "tests.verify.test_schemes",
                "tests.verify.test_malformed",
                "tests.verify.test_oracles",
            )
        },
        20,
    ),
}
LEAST = 0.9
LIMIT = 60
"""The seconds after which tests end that wait for something."""
SURVIVED, KILLED, INVALID = range(3)

# The parts of a pattern: a quantifier, the beginning of a group, a class, an escape, a placeholder, any other byte.
PART = re.compile(r"(?:[*+?]|\{\d+,?(?:\d+|%d)?\})\+?|\((?:\?(?:<?[=!]|:))?|\[\^?(?:\\.|[^\]\\])+\]|\\x..|\\.|%[bd]|.")
ITEM = re.compile(r"(\\x..|\\.|[^\\])(?:-(\\x..|\\.|[^\\]))?")
QUANTIFIER = re.compile(r"([*+?]|\{(\d+)(?:,(\d+|%d))?\})(\+?)")


def main() -> int:
    """Print the scores and the changes that no test notices."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", choices=sorted(TARGETS))
    parser.add_argument("--module", default="", help="change only modules whose names contain this")
    parser.add_argument(
        "--every", type=int, default=1, help="test each change of this number only, for an estimate in less time"
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    target = TARGETS[arguments.target]
    # The same examples for each change. They aren't made smaller.
    phases = (Phase.explicit, Phase.generate)
    settings.register_profile("mutate", deadline=None, derandomize=True, max_examples=target.examples, phases=phases)
    importlib.import_module("tests")
    settings.load_profile("mutate")
    modules = target.modules(arguments.module)
    for module in modules.values():
        unittest.defaultTestLoader.loadTestsFromNames(module.tests)
    unchanged = [(name, module.tests, module.source) for name, module in modules.items()]
    if any(outcome != SURVIVED for _, outcome in outcomes(unchanged, target.limit, arguments.jobs)):
        print("the tests fail without a change")
        return 1
    scores = []
    for kind, changes in (("cosmic-ray", code_changes), ("patterns", byte_changes)):
        mutants = {
            name: list(itertools.islice(changes(module.source), 0, None, arguments.every))
            for name, module in modules.items()
        }
        scores.append(report(kind, modules, mutants, target.limit, arguments.jobs))
    return 0 if min(scores) >= LEAST else 1


def report(
    kind: str, modules: Mapping[str, Module], changes: Mapping[str, Sequence[str]], limit: int, jobs: int
) -> float:
    """Test changed sources, print those that no test notices, and return the share of the others."""
    total: Counter[int] = Counter()
    for name, (source, tests) in modules.items():
        mutants = [(name, tests, changed) for changed in changes[name]]
        found: Counter[int] = Counter()
        for number, outcome in outcomes(mutants, limit, jobs):
            found[outcome] += 1
            if outcome == SURVIVED:
                lines = difflib.unified_diff(source.splitlines(), mutants[number][2].splitlines(), lineterm="", n=0)
                print("\n".join([name, *list(lines)[2:]]), flush=True)
        total += found
        if found:
            print(f"{kind}, {name}: {score_of(found)}", flush=True)
    print(f"{kind}: {score_of(total)}", flush=True)
    return share_of(total)


def share_of(found: Mapping[int, int]) -> float:
    """Return the share of the changes that were noticed. Without a change, it is 1."""
    return found[KILLED] / (found[KILLED] + found[SURVIVED]) if found[KILLED] + found[SURVIVED] else 1.0


def score_of(found: Mapping[int, int]) -> str:
    """Return the share and the numbers."""
    return f"{share_of(found):.1%} ({found[KILLED]} noticed, {found[SURVIVED]} not, {found[INVALID]} invalid)"


# Changes.


def code_changes(source: str) -> Iterator[str]:
    """Yield the source with each change that cosmic-ray makes outside of annotations."""
    seen = {meaning(source)}
    nodes = list(ast_nodes(get_ast(source)))
    for name in sorted(plugins.operator_names()):
        operator_class = plugins.get_operator(name)
        if operator_class.arguments():
            continue
        operator = operator_class()
        count = sum(len(list(operator.mutation_positions(node))) for node in nodes)
        for occurrence in range(count):
            changed = mutate_code(source, operator, occurrence)
            try:
                code = meaning(changed)
            except SyntaxError:
                continue
            if code not in seen:
                seen.add(code)
                yield changed


def meaning(source: str) -> str:
    """Return the code of a module without positions and annotations."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.returns = None
        elif isinstance(node, ast.arg | ast.AnnAssign):
            node.annotation = ast.Constant(0)
    return ast.dump(tree)


def byte_changes(source: str) -> Iterator[str]:
    """Yield the source with each change of a pattern, and with each other byte string emptied."""
    begins = [0]
    for line in source.splitlines(keepends=True):
        begins.append(begins[-1] + len(line))
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.STRING and (quoted := re.fullmatch(r'(r?b")(.*)"', token.string)):
            begin = begins[token.start[0] - 1] + token.start[1] + len(quoted[1])
            text = quoted[2]
            for changed in sorted(pattern_changes(text) if quoted[1] == 'rb"' else {""} - {text}):
                yield source[:begin] + changed + source[begin + len(text) :]


def pattern_changes(pattern: str) -> set[str]:
    """Return the pattern with each change of one part."""
    parts = PART.findall(pattern)
    found = set()
    for at, part in enumerate(parts):
        before, after = "".join(parts[:at]), parts[at + 1 :]
        if quantifier := QUANTIFIER.fullmatch(part):
            found |= {before + other + "".join(after) for other in quantifiers(quantifier)}
            continue
        end = end_of_atom(parts, at)
        if part not in ("|", ")"):
            found.add(before + "".join(parts[end:]))
        if part.startswith("["):
            found |= {before + other + "".join(after) for other in classes(part)}
        if part in ("(?!", "(?=", "(?<!", "(?<="):
            found.add(before + part.translate(str.maketrans("!=", "=!")) + "".join(after))
        if part.startswith("(") or at == 0:
            found |= alternatives(parts, at + part.startswith("("))
    return found - {pattern}


def end_of_atom(parts: Sequence[str], at: int) -> int:
    """Return the index after the atom or group that begins at an index, and after its quantifier."""
    depth = 0
    for end in range(at, len(parts)):
        depth += parts[end].startswith("(") - (parts[end] == ")")
        if depth <= 0:
            break
    end += 1
    return end + 1 if end < len(parts) and QUANTIFIER.fullmatch(parts[end]) else end


def alternatives(parts: Sequence[str], begin: int) -> set[str]:
    """Return the pattern without each of the alternatives of the group whose contents begin at an index."""
    depth = 0
    edges = [begin - 1]
    for at in range(begin, len(parts)):
        depth += parts[at].startswith("(") - (parts[at] == ")")
        if depth < 0:
            break
        if depth == 0 and parts[at] == "|":
            edges.append(at)
    else:
        at = len(parts)
    edges.append(at)
    if len(edges) == 2:
        return set()
    inner = ["".join(parts[one + 1 : other]) for one, other in itertools.pairwise(edges)]
    return {
        "".join(parts[:begin]) + "|".join(inner[:gone] + inner[gone + 1 :]) + "".join(parts[at:])
        for gone in range(len(inner))
    }


def quantifiers(given: re.Match[str]) -> Iterator[str]:
    """Yield other numbers of repetitions."""
    sign, least, most, possessive = given.groups()
    if least is None:
        yield from {"*": ("", "+"), "+": ("", "*"), "?": ("", "*")}[sign] if not possessive else ("*+", "++")
        return
    for lower in (int(least) - 1, int(least) + 1):
        yield f"{{{lower}{',' + most if most else ''}}}" if lower >= 0 else ""
    if most and most.isdigit():
        for upper in (int(most) - 1, int(most) + 1):
            yield f"{{{least},{upper}}}"


def classes(given: str) -> Iterator[str]:
    """Yield other classes of bytes: negated, without each item, and with each range wider or narrower by one byte at each end."""
    negation, inner = ("^", given[2:-1]) if given.startswith("[^") else ("", given[1:-1])
    yield f"[{'' if negation else '^'}{inner}]"
    items = list(ITEM.finditer(inner))
    for item in items:
        first, last = byte_of(item[1]), byte_of(item[2] or item[1])
        edges = ((first + 1, last), (first, last - 1), (first - 1, last), (first, last + 1))
        for low, high in (*edges, (1, 0)):
            if low <= high or (low, high) == (1, 0):
                range_ = f"\\x{low % 256:02x}-\\x{high % 256:02x}" if low <= high else ""
                other = f"[{negation}{inner[: item.start()]}{range_}{inner[item.end() :]}]"
                if matched(other) != matched(given):
                    yield other


def byte_of(item: str) -> int:
    """Return the byte that an item of a class stands for."""
    code: int = ast.literal_eval(f'b"{item}"' if item[1:2] in ("x", "t") else f"b{item[-1]!r}")[0]
    return code


def matched(class_: str) -> set[int] | None:
    """Return the bytes of a class; None if it is invalid."""
    try:
        pattern = re.compile(class_.encode("ascii"))
    except re.error:
        return None
    return {byte for byte in range(256) if pattern.match(bytes([byte]))}


# Tests.


class Changed(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Imports a changed source as the module."""

    def __init__(self, module: str, source: str) -> None:
        self._module = module
        self._source = source

    def find_spec(self, name: str, path: object, target: object = None) -> Any:
        """Find the module."""
        if name != self._module:
            return None
        spec = importlib.util.spec_from_loader(name, self, origin=str(ROOT / f"{name.replace('.', '/')}.py"))
        # Some modules read files beside them.
        spec.has_location = True
        return spec

    def get_source(self, name: str) -> str:
        """Return the changed source."""
        return self._source


def outcomes(mutants: Sequence[tuple[str, Sequence[str], str]], limit: int, jobs: int) -> Iterator[tuple[int, int]]:
    """Test changed sources of modules, each in a process, some of them at the same time. Yield their indices and outcomes."""
    running: dict[int, int] = {}
    for number, (module, tests, source) in enumerate(mutants):
        process = os.fork()
        if process == 0:
            os._exit(outcome(module, tests, source, limit))
        running[process] = number
        if len(running) == jobs:
            yield _ended(running)
    while running:
        yield _ended(running)


def _ended(running: dict[int, int]) -> tuple[int, int]:
    process, status = os.wait()
    code = os.waitstatus_to_exitcode(status)
    return running.pop(process), code if code >= 0 else KILLED


def outcome(module: str, tests: Sequence[str], source: str, limit: int) -> int:
    """Test a changed source in this process, which then ends."""
    signal.alarm(LIMIT)
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    # Those that import the module, and their tests.
    packages = {module.rpartition(".")[0], *(f"errklein.{test.split('.')[1]}" for test in tests)}
    for name in list(sys.modules):
        if any(f"{name}.".startswith((f"{package}.", f"tests{package[8:]}.")) for package in packages):
            del sys.modules[name]
    sys.meta_path.insert(0, Changed(module, source))
    try:
        importlib.import_module(module)
    except Exception:
        return INVALID
    try:
        suite = unittest.defaultTestLoader.loadTestsFromNames(tests)
        return SURVIVED if unittest.TextTestRunner(failfast=True).run(suite).wasSuccessful() else KILLED
    except BaseException:
        return KILLED


if __name__ == "__main__":
    memory = Path("/dev/shm")
    # Tests write files.
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as directory, chdir(directory):
        status = main()
    sys.exit(status)
