"""Runs the chapter's tests in an environment with Flask and errbot, or in one without.

    python tests/chapter/environments.py with
    python tests/chapter/environments.py without

It must be run by the Python of that environment, which also needs errklein's dependencies. Exits with 1 if the
environment isn't the expected one, if a test fails, or if no test was run.
"""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent

BESIDE = """
import sys
import flask, errbot
from errklein.compat import install
install()
import flask as flask_later, errbot as errbot_later
assert flask is flask_later and errbot is errbot_later
application = flask.Flask("other")
application.add_url_rule("/", view_func=lambda: flask.jsonify(flask=flask.__name__))
assert application.test_client().get("/").get_json() == {"flask": "flask"}
from errklein.testing import TestBot
bot = TestBot(plugin_dirs=["tests/chapter/fixtures/answers"])
bot.start()
answers = []
bot.post("/whose_flask").addCallback(answers.append)
assert answers[0].text == "errklein.compat.flask", answers[0].text
assert bot.plugin("Answers").__class__.__mro__[1].__module__.startswith("errklein.")
assert application.test_client().get("/").get_json() == {"flask": "flask"}
assert sys.modules["flask"] is flask and sys.modules["errbot"] is errbot
bot.stop()
"""
"""The checks of a process that uses errklein, errbot and Flask."""


def installed(name: str) -> str | None:
    """Return the version of a distribution in this environment; None if it isn't installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def main(arguments: list[str]) -> int:
    """Run the tests and return the exit status."""
    if arguments not in (["with"], ["without"]):
        print("usage: environments.py with|without", file=sys.stderr)
        return 2
    found = {name: installed(name) for name in ("Flask", "errbot")}
    expected = arguments == ["with"]
    if any((there is not None) != expected for there in found.values()):
        print(f"This environment should be one {arguments[0]} Flask and errbot, but has {found}", file=sys.stderr)
        return 1
    print(f"Python {sys.version.split()[0]}, {found}")
    if expected:
        subprocess.run([sys.executable, "-c", BESIDE], cwd=ROOT, check=True)
    trial = [sys.executable, "-m", "twisted.trial", "--reactor=asyncio", "tests.chapter"]
    done = subprocess.run(trial, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    print(done.stdout)
    return 0 if done.returncode == 0 and "PASSED (successes=" in done.stdout else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
