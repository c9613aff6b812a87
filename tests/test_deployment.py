"""The deployment files in the guides agree with each other and with errklein's settings."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

from twisted.scripts.twistd import ServerOptions
from twisted.trial.unittest import SynchronousTestCase

import errklein
from errklein.bot._bot import DRAIN
from errklein.config import SETTINGS, load_config
from errklein.web import WebSettings
from tests.server_program import require_program

PACKAGE = Path(errklein.__file__).parent
EXAMPLES = PACKAGE.parent / "docs" / "examples"
DEPLOYMENT = PACKAGE / "examples"


def value(file: str, key: str) -> str:
    """Return the last value of a key in a file for systemd or nginx."""
    text = re.sub(r"\\\n *", "", (DEPLOYMENT / file).read_text())
    found = re.findall(rf"^ *{key}[ =](.+?);?$", text, re.MULTILINE)
    return str(found[-1])


class SystemdTests(SynchronousTestCase):
    """The units for systemd."""

    def test_command_lines(self) -> None:
        """twistd accepts the command lines, and they use the socket that the unit opens."""
        for unit in ("errklein.service", "port-443.conf"):
            program, *arguments = shlex.split(value(unit, "ExecStart"))
            self.assertEqual(Path(program).name, "twistd")
            options = ServerOptions()
            options.parseOptions(arguments)
            self.assertEqual(options.subOptions["config"], "/etc/errklein/config.py")
            self.assertIn(f"name={value('errklein.socket', 'FileDescriptorName')}", options.subOptions["web"][0])

    def test_directories(self) -> None:
        """The configuration and logrotate use the directories that systemd creates."""
        config = load_config(EXAMPLES / "config_service.py")
        self.assertEqual(config.BOT_DATA_DIR, f"/var/lib/{value('errklein.service', 'StateDirectory')}")
        self.assertEqual(
            str(Path(config.BOT_LOG_FILE).parent), f"/var/log/{value('errklein.service', 'LogsDirectory')}"
        )
        self.assertIn(f"{config.BOT_LOG_FILE} {{\n", (DEPLOYMENT / "errklein.logrotate").read_text())
        self.assertIn(f"cd {config.BOT_DATA_DIR} ", (DEPLOYMENT / "errklein.cron").read_text())

    def test_exposure(self) -> None:
        """systemd rates the exposure of the service with at most 1.5 of 10."""
        analyze = require_program("systemd-analyze", package="systemd")
        units = Path(self.mktemp())
        units.mkdir()
        for unit in ("errklein.service", "errklein.socket"):
            shutil.copy(DEPLOYMENT / unit, units)
        command = [analyze, "security", "--offline=true", "--no-pager", units / "errklein.service"]
        rated = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
        found = re.search(r"Overall exposure level for errklein.service: ([\d.]+) ", rated.stdout)
        assert found is not None, rated.stderr
        self.assertLessEqual(float(found[1]), 1.5, rated.stdout)

    def test_stop(self) -> None:
        """systemd waits until errklein has stopped in order."""
        self.assertGreater(int(value("errklein.service", "TimeoutStopSec")), SETTINGS["GRACE_PERIOD"].default + 1)

    def test_status(self) -> None:
        """Prometheus asks the address on which the unit serves the status, which only this machine reaches."""
        arguments = shlex.split(value("errklein.service", "ExecStart"))
        kind, port, interface = arguments[arguments.index("--status") + 1].split(":")
        address = interface.removeprefix("interface=")
        self.assertEqual((kind, address), ("tcp", "127.0.0.1"))
        self.assertIn(f'targets: ["{address}:{port}"]', (DEPLOYMENT / "monitoring" / "prometheus.yml").read_text())

    def test_watchdog(self) -> None:
        """errklein names what blocks its reactor, and ends, before systemd kills it."""
        self.assertEqual(
            (value("errklein.service", "Type"), value("errklein.service", "NotifyAccess")), ("notify", "main")
        )
        self.assertGreater(int(value("errklein.service", "WatchdogSec")), 2 * (SETTINGS["GRACE_PERIOD"].default + 1))


class NginxTests(SynchronousTestCase):
    """The configuration of nginx."""

    def test_limits(self) -> None:
        """nginx accepts the bodies that errklein accepts, and waits longer than errklein does."""
        megabytes = int(value("nginx.conf", "client_max_body_size").removesuffix("m"))
        self.assertEqual(megabytes * 1024 * 1024, SETTINGS["WEBHOOK_MAX_BODY"].default)
        seconds = {
            key: int(value("nginx.conf", key).removesuffix("s")) for key in ("proxy_read_timeout", "keepalive_timeout")
        }
        self.assertGreater(seconds["proxy_read_timeout"], SETTINGS["WEBHOOK_TIMEOUT"].default)
        self.assertLess(seconds["keepalive_timeout"], WebSettings().idle_deadline)
        self.assertIn(value("errklein.socket", "ListenStream"), (DEPLOYMENT / "nginx.conf").read_text())


class SeveralMachinesTests(SynchronousTestCase):
    """The files for several machines behind HAProxy."""

    def test_addresses(self) -> None:
        """HAProxy asks and uses the ports of the unit, and the bot trusts its headers. The table of the guide has the ports."""
        balancer, unit = ((DEPLOYMENT / name).read_text() for name in ("haproxy-machines.cfg", "machine.conf"))
        endpoints = dict(re.findall(r"--(\w+) tcp:(\d+):interface=10\.0\.0\.11", unit))
        self.assertEqual({*endpoints}, {"web", "node", "status"})
        self.assertIn(f"server bot1 10.0.0.11:{endpoints['web']}\n", balancer)
        self.assertIn(f"check port {endpoints['status']} ", balancer)
        guide = (EXAMPLES.parent / "guides" / "several-machines.md").read_text("utf-8")
        for name, port in endpoints.items():
            self.assertIn(f"| {port} (`--{name}`) |", guide)
        proxies = load_config(EXAMPLES / "config_machines.py").TRUSTED_PROXIES
        for header in next(iter(proxies.values())):
            self.assertIn(f"http-request set-header {header} ", balancer)

    def test_times(self) -> None:
        """HAProxy waits longer than errklein for a response, and has noticed that a process is drained before this stops."""
        text = (DEPLOYMENT / "haproxy-machines.cfg").read_text()
        found = {name: int(number) for name, number in re.findall(r"((?:timeout )?\w+) (\d+)s?\b", text)}
        self.assertGreater(found["timeout server"], SETTINGS["WEBHOOK_TIMEOUT"].default)
        self.assertLess((found["inter"] + found["timeout check"]) * found["fall"], DRAIN)


class ReachTests(SynchronousTestCase):
    """The settings and the tunnel of a bot that others reach."""

    def test_ports(self) -> None:
        """The bot listens where nginx and the tunnel forward requests."""
        config = load_config(EXAMPLES / "config_reach.py")
        address = "127.0.0.1:3141"
        self.assertEqual(config.WEB, ("tcp:3141:interface=127.0.0.1",))
        self.assertIn(f"server {address};", (DEPLOYMENT / "nginx.conf").read_text())
        tunnel = shlex.split(value("errklein-tunnel.service", "ExecStart"))
        self.assertEqual(tunnel[tunnel.index("-R") + 1], f"{address}:{address}")
        page = (EXAMPLES.parent / "guides" / "reach-the-bot.md").read_text("utf-8")
        self.assertIn(f"ssh -N -R {address}:{address} ", page)
