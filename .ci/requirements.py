"""Start errklein, installed as users do, with plugins whose requirements could damage its environment.

A new environment has only errklein. For each requirement, a bot with new data is started in it. After that the
environment must be unchanged. Needs the package index. Prints each command; exits with 1 at the first problem.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

REQUIREMENTS = ("errbot", "errbot==6.1.9", "flask<2", "Jinja2<3", "requests", "-r more.txt")
"""The requirements of plugins. With each, the plugin is loaded."""

IMPORTED = ("ansi", "cgi", "colorlog", "deepmerge", "dulwich", "flask", "pygments", "requests", "setuptools", "webtest")
"""The modules of the packages that errklein[errbot] installs."""

CONFIG = """
from pathlib import Path
HERE = Path(__file__).parent
BACKEND = "Null"
BOT_ADMINS = ("admin",)
BOT_DATA_DIR = str(HERE / "data")
BOT_EXTRA_PLUGIN_DIR = str(HERE / "plugins")
BOT_LOG_LEVEL = 20
"""

PLUGIN = """
from errbot import BotPlugin
from flask import jsonify
{extra}

class Needy(BotPlugin):
    def activate(self):
        super().activate()
        self.log.info("Needy is active")
"""

STARTED = ("Needy is active", "Needy is not loaded")
SECONDS = 300


def run(*command: str | Path, cwd: Path) -> str:
    """Run the command and return its output; exits if it fails."""
    print("$", *command, flush=True)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=600)
    if done.returncode != 0:
        sys.exit(f"{done.stdout}\n{done.stderr}\nexit status {done.returncode}")
    return done.stdout + done.stderr


def start_and_stop(python: Path, directory: Path) -> str:
    """Run the bot until the plugin is active or not loaded, stop it, and return its log."""
    log = directory / "log"
    with log.open("wb") as file:
        bot = subprocess.Popen([python.with_name("errklein"), "run"], cwd=directory, stdout=file, stderr=file)
        deadline = time.monotonic() + SECONDS
        while not any(line in log.read_text("utf-8", "replace") for line in STARTED):
            if bot.poll() is not None or time.monotonic() > deadline:
                bot.kill()
                sys.exit(f"{log.read_text('utf-8', 'replace')}\nthe bot didn't start")
            time.sleep(0.1)
        bot.send_signal(signal.SIGTERM)
        bot.wait(timeout=60)
    return log.read_text("utf-8", "replace")


def try_requirement(requirement: str, python: Path, directory: Path) -> None:
    """Start a bot with a plugin that has this requirement, and check the environment."""
    before = run(python, "-m", "pip", "freeze", "--all", cwd=directory.parent)
    plugins = directory / "plugins"
    plugins.mkdir(parents=True)
    (directory / "config.py").write_text(CONFIG)
    (plugins / "more.txt").write_text("Flask==1.0\nrequests\n")
    (plugins / "requirements.txt").write_text(f"{requirement}\n")
    (plugins / "needy.plug").write_text("[Core]\nName = Needy\nModule = needy\n")
    needs_requests = requirement in ("requests", "-r more.txt")
    (plugins / "needy.py").write_text(PLUGIN.format(extra="import requests" if needs_requests else ""))
    log = start_and_stop(python, directory)
    if "Needy is not loaded" in log:
        sys.exit(f"{log}\n{requirement}: expected the plugin to be loaded")
    print(f"{requirement}: the plugin is active", flush=True)
    run(python, "-m", "pip", "check", cwd=directory)
    if run(python, "-m", "pip", "freeze", "--all", cwd=directory) != before:
        sys.exit(f"the requirement {requirement} has changed the environment")
    found = list(directory.glob("data/packages/py*/requests/__init__.py"))
    if bool(found) != needs_requests:
        sys.exit(f"{requirement}: requests is in {found or 'no directory'}")
    # A version that errklein's environment can't have is a warning.
    run(python.with_name("errklein"), "check", cwd=directory)


def try_extra(python: Path, directory: Path) -> None:
    """Install errklein[errbot], and check that nothing is replaced and the packages of errbot's plugins are there."""
    before = set(run(python, "-m", "pip", "freeze", "--all", cwd=directory).splitlines())
    run(python, "-m", "pip", "install", "--quiet", f"{ROOT}[errbot]", cwd=directory)
    after = set(run(python, "-m", "pip", "freeze", "--all", cwd=directory).splitlines())
    # pip and setuptools may be upgraded.
    replaced = sorted(line for line in before - after if not line.startswith(("errklein ", "pip==", "setuptools==")))
    if replaced:
        sys.exit(f"errklein[errbot] has replaced {', '.join(replaced)}")
    run(python, "-m", "pip", "check", cwd=directory)
    run(python, "-c", f"import {', '.join(IMPORTED)}", cwd=directory)
    print("errklein[errbot] has added", *sorted(line for line in after - before if "==" in line), flush=True)


def main() -> None:
    """Check all requirements."""
    with tempfile.TemporaryDirectory(prefix="requirements-") as name:
        work = Path(name)
        run(sys.executable, "-m", "venv", work / "venv", cwd=work)
        python = work / "venv" / "bin" / "python"
        run(python, "-m", "pip", "install", "--quiet", ROOT, cwd=work)
        if "requests==" in run(python, "-m", "pip", "freeze", cwd=work):
            sys.exit("errklein's environment already has requests, so this check is useless")
        for number, requirement in enumerate(REQUIREMENTS):
            try_requirement(requirement, python, work / f"bot-{number}")
        try_extra(python, work)
    print("requirements: no problems")


if __name__ == "__main__":
    main()
