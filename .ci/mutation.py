"""Change modules in small ways, and check that their tests notice: `mutation.py [--count 20] [--seed N] [--only TARGET]`.

cosmic-ray makes the changes. Of each target, a sample is tested, which differs from day to day. A change that no test notices is
printed; many of those change nothing. Exits with 1 if less than LEAST of the changes of a target are noticed. Tests that take longer
than LIMIT have noticed the change. Nothing is changed in the checkout: the changes are made in copies.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from queue import SimpleQueue

from cosmic_ray import plugins
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code

ROOT = Path(__file__).resolve().parents[1]
LEAST = 0.7
LIMIT = 120.0
JOBS = os.cpu_count() or 1
TARGETS = {
    "web/_http1.py": "tests.web.test_http1 tests.web.test_http1_grammar tests.web.test_http1_llhttp",
    "verify/*.py": "tests.verify",
    "journal/_queue.py": "tests.journal.test_queue tests.core_plugins.test_why",
    "journal/_[rw]*.py": "tests.journal.test_contract tests.journal.test_retention tests.journal.test_redaction",
    "networks/outbox/*.py": "tests.networks.outbox",
    "running/pool.py": "tests.running.test_pool tests.running.test_threads",
    "status/*.py": "tests.status",
}
"""The tests of modules, by their path."""


def changes(source: str) -> Iterator[str]:
    """Yield the source with each change outside of annotations."""
    seen = {meaning(source)}
    nodes = list(ast_nodes(get_ast(source)))
    for name in sorted(plugins.operator_names()):
        kind = plugins.get_operator(name)
        if kind.arguments():
            continue
        operator = kind()
        for occurrence in range(sum(len(list(operator.mutation_positions(node))) for node in nodes)):
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


def is_noticed(copy: Path, file: Path, changed: str, tests: str) -> bool:
    """Return whether the tests fail with the changed source, or don't end."""
    path = copy / file
    before = path.read_text(encoding="utf-8")
    path.write_text(changed, encoding="utf-8")
    try:
        command = [sys.executable, "-m", "twisted.trial", "-x", *tests.split()]
        return subprocess.run(command, cwd=copy, capture_output=True, check=False, timeout=LIMIT).returncode != 0
    except subprocess.TimeoutExpired:
        return True
    finally:
        path.write_text(before, encoding="utf-8")


def main() -> int:
    """Print the changes that aren't noticed, and the share of the others by target."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20, help="the number of changes of each target")
    parser.add_argument("--seed", type=int, default=int(time.time() // 86400))
    parser.add_argument("--only", default="", help="only targets whose path contains this")
    options = parser.parse_args()
    print(f"seed {options.seed}")
    choose = random.Random(options.seed)
    # The same examples of property tests for each change, and few of them.
    os.environ["ERRKLEIN_QUICK_TESTS"] = "1"
    good = True
    with tempfile.TemporaryDirectory(prefix="mutation-") as name, ThreadPoolExecutor(JOBS) as pool:
        copies: SimpleQueue[Path] = SimpleQueue()
        for number in range(JOBS):
            copies.put(Path(name, str(number)))
            for part in ("errklein", "tests", "docs", "examples"):
                shutil.copytree(ROOT / part, Path(name, str(number), part))
        for pattern, tests in TARGETS.items():
            if options.only not in pattern:
                continue
            files = [path.relative_to(ROOT) for path in sorted((ROOT / "errklein").glob(pattern))]
            found = chain.from_iterable(
                ((file, changed) for changed in changes((ROOT / file).read_text("utf-8"))) for file in files
            )
            sample = list(found)
            sample = choose.sample(sample, min(options.count, len(sample)))

            def run(change: tuple[Path, str], tests: str = tests) -> bool:
                copy = copies.get()
                try:
                    return is_noticed(copy, *change, tests)
                finally:
                    copies.put(copy)

            if not files or run((files[0], (ROOT / files[0]).read_text("utf-8"))):
                print(f"{pattern}: the tests fail without a change, or there is no such module")
                good = False
                continue
            results = Counter()
            for (file, changed), noticed in zip(sample, pool.map(run, sample), strict=True):
                results[noticed] += 1
                if not noticed:
                    lines = (ROOT / file).read_text("utf-8").splitlines(), changed.splitlines()
                    print("\n".join([str(file), *list(difflib.unified_diff(*lines, lineterm="", n=0))[2:]]), flush=True)
            share = results[True] / max(1, len(sample))
            good = good and share >= LEAST
            print(f"{pattern}: {results[True]} of {len(sample)} changes are noticed", flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
