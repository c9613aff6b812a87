"""errklein does everything in the unit's sandbox, and plugins nothing else. systemd and its unit are real."""

from __future__ import annotations

import json
import os
import re
import shutil
import sysconfig
import unittest
from pathlib import Path
from textwrap import dedent

from twisted.trial.unittest import SynchronousTestCase

from long_tests.service.machine import Machine
from tests import needs_network
from tests.authority import issue
from tests.plugins.repos.repositories import GitRepository, plugin_files
from tests.plugins.wheels import write_wheel
from tests.processes import ROOT
from tests.server_program import require_program

DEPLOYMENT = ROOT / "errklein" / "examples"
CONFIG = {
    "BACKEND": "IRC",
    "BOT_IDENTITY": {
        "nickname": "errklein",
        "server": "localhost",
        "port": 6697,
        "ssl": True,
        "ssl_ca": "/etc/errklein/ca.pem",
    },
    "BOT_ADMINS": ("admin!*@*",),
    "CHATROOM_PRESENCE": ("#ops",),
    "BOT_DATA_DIR": "/var/lib/errklein",
    "BOT_LOG_FILE": "/var/log/errklein/errklein.log",
    "BOT_EXTRA_PLUGIN_DIR": "/etc/errklein/plugins",
}
CONFIG_FILE = "/etc/errklein/config.py"
LOG = "/var/log/errklein/errklein.log"
NGIRCD = """\
[Global]
Name = irc.test.local
Info = tests
AdminEMail = root@localhost
Listen = 127.0.0.1
Ports = 6667
ServerUID = irc
ServerGID = irc
[Limits]
MaxConnectionsIP = 0
MaxPenaltyTime = 0
PingTimeout = 3600
[Options]
DNS = no
Ident = no
PAM = no
[SSL]
CertFile = /srv/irc/cert.pem
KeyFile = /srv/irc/key.pem
Ports = 6697
"""
SERVER = """\
[Service]
ExecStart=/usr/sbin/ngircd -n -f /srv/irc/ngircd.conf
"""
GIT_BY_HTTP = """\
[Service]
ExecStart=/opt/errklein/venv/bin/python -m http.server --cgi --bind 127.0.0.1 --directory /srv/files 8000
"""
GIT_PROGRAM = """\
#!/bin/sh
export GIT_PROJECT_ROOT=/srv/files GIT_HTTP_EXPORT_ALL=1
exec git -c safe.directory='*' http-backend
"""
OUTPUT = """\
[Service]
# There is no journal.
StandardOutput=append:/var/log/output
StandardError=inherit
"""
KILLED = """\
[Service]
# A process that calls what the filter doesn't contain is killed, instead of getting an error that it might ignore.
SystemCallErrorNumber=
# libtinfo, which pip loads, calls them and ignores the error.
SystemCallFilter=setfsuid setfsgid
Environment=PIP_NO_INDEX=1 PIP_FIND_LINKS=/srv/wheels
"""
PLUGIN = """
    import ctypes
    import json
    import os
    import re
    import socket
    import time
    from pathlib import Path

    from errklein import BotPlugin, webhook

    LIBC = ctypes.CDLL(None, use_errno=True)
    ADD_KEY, IO_SETUP = {"x86_64": (248, 206), "aarch64": (217, 0)}[os.uname().machine]

    def call(name, *arguments):
        if getattr(LIBC, name)(*arguments) < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    def touch(path, mode):
        Path(path).touch()
        os.chmod(path, mode)

    # What any process of this user may do without the sandbox.
    TRIES = {
        "write into a directory": lambda: Path("/srv/reports/new").touch(),
        "read a home directory": lambda: os.listdir("/home/alice"),
        "read a file of another in /tmp": lambda: Path("/tmp/others").read_text(),
        "open a device": lambda: open("/dev/public"),
        "read /proc/stat": lambda: open("/proc/stat"),
        "create a user namespace": lambda: call("unshare", 0x10000000),
        "open a netlink socket": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
        "set a set-user-ID bit": lambda: touch("/var/lib/errklein/set", 0o4700),
        "change the personality": lambda: call("personality", 0x40000),
        "lower the priority": lambda: os.setpriority(os.PRIO_PROCESS, 0, 1),
        "change an owner": lambda: os.chown("/var/lib/errklein", os.getuid(), -1),
        "add a key": lambda: call("syscall", ADD_KEY, b"user", b"name", b"value", 5, -3),
        "use asynchronous I/O": lambda: call("syscall", IO_SETUP, 1, ctypes.byref(ctypes.c_ulong())),
    }

    class Probe(BotPlugin):
        @webhook
        def tries(self, request):
            found = {}
            for name, function in TRIES.items():
                try:
                    function()
                    found[name] = "possible"
                except OSError as error:
                    found[name] = error.strerror
            others = [path for path in Path("/proc").glob("[0-9]*") if path.stat().st_uid != os.getuid()]
            status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
            found["processes of others"] = len(others)
            found["mask"] = status["Umask"].strip()
            found["capabilities"] = int(status["CapBnd"], 16)
            found["users"] = sum(int(line.split()[2]) for line in open("/proc/self/uid_map"))
            return json.dumps(found)

        @webhook
        def sorts(self, request):
            numbers = (ctypes.c_int * 3)(3, 1, 2)
            compare = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int))
            LIBC.qsort(numbers, 3, 4, compare(lambda first, second: first[0] - second[0]))
            return str(list(numbers))

        @webhook
        def verified(self, request):
            return "accepted"

        @webhook
        def shared(self, request):
            return "accepted"

        @webhook
        async def sleeps(self, request):
            time.sleep(10)

        @webhook
        def matches(self, request):
            self.log.info("a handler begins")
            re.match("(a|aa)+$", "a" * 60 + "b")
"""
PATH_OF_PLUGIN = "/etc/errklein/plugins/probe/probe"


class UnitCase(SynchronousTestCase):
    """A bot as a service, with a real IRC server, whose administrator is a client of the test."""

    timeout = 600
    maxDiff = None

    def setUp(self) -> None:
        """Start the machine and the IRC server, and install the units."""
        needs_network()
        if os.geteuid() != 0:
            if os.environ.get("CI"):
                raise AssertionError("only root can start a machine, which CI requires")
            raise unittest.SkipTest("only root can start a machine")
        require_program("ngircd")
        require_program("curl")
        self.machine = Machine()
        self.addCleanup(self.machine.stop)
        self.certificate = issue("localhost", authority=True)
        for path, content in (
            ("/srv/irc/ngircd.conf", NGIRCD.encode()),
            ("/srv/irc/cert.pem", self.certificate.pem),
            ("/srv/irc/key.pem", self.certificate.key_pem),
            ("/etc/errklein/ca.pem", self.certificate.pem),
            (f"{PATH_OF_PLUGIN}.py", dedent(PLUGIN).encode()),
            (f"{PATH_OF_PLUGIN}.plug", b"[Core]\nName = Probe\nModule = probe\n"),
        ):
            self.machine.write(path, content)
        self.machine.unit("ngircd.service", SERVER)
        for name in ("errklein.service", "errklein.socket"):
            self.machine.unit(name, (DEPLOYMENT / name).read_text())
        self.machine.unit("errklein.service.d/output.conf", OUTPUT)
        self.machine.unit("errklein.service.d/killed.conf", KILLED)
        self.machine.run("systemctl", "start", "ngircd.service")
        listens = "until exec 3<>/dev/tcp/127.0.0.1/6667; do sleep 0.1; done 2> /dev/null"
        self.machine.run("bash", "-c", listens)

    def start(self, **settings: object) -> None:
        """Start the service, and wait until the bot is in its room, where the administrator is."""
        lines = [f"{name} = {value!r}\n" for name, value in (CONFIG | settings).items()]
        self.machine.write(CONFIG_FILE, "".join(lines), 0o640, "root:errklein")
        self.admin = self.machine.start("bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/6667; cat <&3 & exec cat >&3")
        self.send("NICK admin", "USER admin 0 * :admin", "JOIN #ops")
        self.admin.wait_for(" JOIN :#ops")
        try:
            self.machine.run("systemctl", "start", "errklein.socket", "errklein.service")
        except AssertionError as error:
            status = {name: self.machine.shown(name) for name in ("Result", "ExecMainCode", "ExecMainStatus")}
            raise AssertionError(f"{status}\n{self.machine.path('/var/log/output').read_text()}") from error
        self.admin.wait_for(" JOIN :#ops", 2)

    def send(self, *lines: str) -> None:
        """Send lines to the IRC server."""
        assert self.admin.process.stdin is not None
        self.admin.process.stdin.write("".join(f"{line}\r\n" for line in lines).encode())
        self.admin.process.stdin.flush()

    def say(self, text: str, answer: str) -> None:
        """Send the bot a message, and wait for one more occurrence of the answer."""
        before = self.admin.text.count(answer)
        self.send(f"PRIVMSG errklein :{text}")
        self.admin.wait_for(answer, before + 1)

    def post(self, path: str, *options: str, url: str = "http://127.0.0.1:3141") -> str:
        """Return the response to a POST request."""
        return self.machine.run("curl", "-sS", "--max-time", "120", "-d", "hello=world", *options, url + path)

    def log(self) -> str:
        """Return the bot's log."""
        return self.machine.path(LOG).read_text()


class WorkingTests(UnitCase):
    """Everything works, though a process that calls something else is killed."""

    def test_start_requests_and_watchdog(self) -> None:
        """The service starts, serves webhooks on systemd's socket, logs them, and feeds the watchdog."""
        self.machine.unit("errklein.service.d/watchdog.conf", "[Service]\nWatchdogSec=8\n")
        self.start()
        self.assertEqual(self.post("/echo"), "{'hello': 'world'}")
        self.assertEqual(self.post("/sorts"), "[1, 2, 3]")
        self.assertIn('"POST /echo" 200', self.log())
        self.assertIn("errklein_build_info", self.machine.run("curl", "-sS", "http://127.0.0.1:9141/metrics"))
        fed = set()

        def is_fed() -> bool:
            fed.add(self.machine.shown("WatchdogTimestampMonotonic"))
            return len(fed) > 2

        self.machine.wait_until(is_fed, "the watchdog is fed")
        self.assertEqual((self.machine.shown("StatusText"), self.machine.shown("NRestarts")), ("Running", "0"))

    def test_repository_with_requirements(self) -> None:
        """`!repos install` runs git, and pip for the requirements, of which one is compiled."""
        packages = Path(sysconfig.get_path("platlib")) / "markupsafe"
        [compiled] = packages.glob("_speedups.*.so")
        write_wheel(
            self.machine.path("/srv/wheels"),
            "errklein_test_compiled",
            files={
                "errklein_test_compiled/__init__.py": "",
                f"errklein_test_compiled/{compiled.name}": compiled.read_bytes(),
            },
        )
        files = plugin_files("Thing")
        files["thing.py"] = "from errklein_test_compiled import _speedups\n" + files["thing.py"]
        files["requirements.txt"] = "errklein_test_compiled\n"
        repository = GitRepository(Path(self.mktemp()).absolute(), files)
        shutil.copytree(repository.directory / ".git", self.machine.path("/srv/files/me/thing.git"))
        self.machine.write("/srv/files/cgi-bin/git", GIT_PROGRAM, 0o755)
        self.machine.unit("git.service", GIT_BY_HTTP)
        self.machine.run("systemctl", "start", "git.service")
        self.start()
        self.say("!repos install http://127.0.0.1:8000/cgi-bin/git/me/thing.git", "All its plugins are active")
        self.say("!thing", " :1\r\n")

    def test_backup_and_rotation(self) -> None:
        """`!backup` writes a file for the bot only, and `systemctl reload` opens the log again, after a rotation."""
        self.start()
        self.say("!backup", "Backup of ")
        self.assertEqual(self.machine.path("/var/lib/errklein/backup.jsonl").stat().st_mode & 0o777, 0o600)
        self.machine.run("mv", LOG, f"{LOG}.1")
        self.machine.run("systemctl", "reload", "errklein.service")
        self.machine.wait_until(lambda: self.machine.path(LOG).exists() and "SIGHUP" in self.log(), "the log is new")
        self.say("!log tail", "SIGHUP")

    def test_command_line(self) -> None:
        """Commands of the bot's user and of root, which aren't in the sandbox, reach the bot in it."""
        self.start()
        command = ("/opt/errklein/venv/bin/python", "-m", "errklein", "config", "reload", "--config", CONFIG_FILE)
        for user in ("errklein", "root"):
            said = self.machine.run(
                "runuser", "-u", user, "--", "env", "LD_LIBRARY_PATH=/opt/errklein/python/lib", *command
            )
            self.assertEqual(said, "Nothing has changed.\n")

    def test_restart(self) -> None:
        """`!restart` replaces the process; requests wait, and systemd doesn't notice."""
        self.start()
        before = self.machine.shown("MainPID")
        self.say("!restart", "Restarting")
        self.assertEqual(self.post("/echo"), "{'hello': 'world'}")
        self.admin.wait_for(" JOIN :#ops", 3)
        self.say("!uptime", "errklein!")
        after = [self.machine.shown(name) for name in ("MainPID", "ActiveState", "NRestarts")]
        self.assertEqual(after, [before, "active", "0"])

    def test_secrets(self) -> None:
        """A webhook's secret is a credential, or a file of a supplementary group."""
        self.machine.write("/etc/errklein/hook", "first", 0o600)
        self.machine.write("/etc/group", self.machine.path("/etc/group").read_text() + "readers:x:5142:\n")
        self.machine.write("/srv/secrets/hook", "second", 0o640, "root:readers")
        more = "[Service]\nLoadCredential=hook:/etc/errklein/hook\nSupplementaryGroups=readers\n"
        self.machine.unit("errklein.service.d/secrets.conf", more)
        references = {"Probe:verified": "credential:hook", "Probe:shared": "file:/srv/secrets/hook"}
        self.start(WEBHOOKS={name: {"verify": "bearer", "secret": secret} for name, secret in references.items()})
        for path, secret in (("/verified", "first"), ("/shared", "second")):
            self.assertEqual(self.post(path, "-H", f"Authorization: Bearer {secret}"), "accepted")
            self.assertIn("401", self.post(path))

    def test_port_443(self) -> None:
        """With port-443.conf, errklein opens port 443 itself, with TLS."""
        pem = self.certificate.key_pem + self.certificate.pem
        self.machine.write("/etc/errklein/certificates/localhost.pem", pem, 0o640, "root:errklein")
        self.machine.unit("errklein.service.d/port-443.conf", (DEPLOYMENT / "port-443.conf").read_text())
        self.start()
        answer = self.post("/echo", "--cacert", "/etc/errklein/ca.pem", url="https://localhost")
        self.assertEqual(answer, "{'hello': 'world'}")

    def test_blocked_reactor(self) -> None:
        """A process that hangs ends at REACTOR_DEADLINE and starts again; administrators get the line."""
        self.start(REACTOR_DEADLINE=1.5)
        self.machine.run("curl", "-sS", "-d", "x=", "http://127.0.0.1:3141/sleeps", check=False)
        self.admin.wait_for(" JOIN :#ops", 3)
        self.assertEqual(self.machine.shown("NRestarts"), "1")
        self.assertIn("ended because it hung, probably in /etc/errklein/plugins/probe/probe.py", self.log())

    def test_stop_with_a_held_lock(self) -> None:
        """A process whose interpreter lock is held ends after SIGTERM, before systemd kills it."""
        self.start(GRACE_PERIOD=1.0, REACTOR_DEADLINE=600.0)
        self.machine.start("curl", "-sS", "-d", "x=", "http://127.0.0.1:3141/matches")
        self.machine.wait_until(lambda: "a handler begins" in self.log(), "the handler runs")
        self.machine.run("systemctl", "stop", "errklein.service")
        self.assertEqual((self.machine.shown("Result"), self.machine.shown("ExecMainStatus")), ("success", "15"))


class ForbiddenTests(UnitCase):
    """What plugins can't do, unless the unit is adapted."""

    def setUp(self) -> None:
        """Make files that any process may use."""
        super().setUp()
        self.machine.unit("errklein.service.d/killed.conf", "")
        for path in ("/home/alice/file", "/tmp/others", "/srv/reports/file"):
            self.machine.write(path, "")
        self.machine.run("chmod", "0777", "/srv/reports")
        self.machine.run("mknod", "-m", "0666", "/dev/public", "c", "1", "3")

    def test_what_plugins_try(self) -> None:
        """What any process of the user may do, and errklein never does, is an error for plugins."""
        self.start()
        denied = "Operation not permitted"
        self.assertEqual(
            json.loads(self.post("/tries")),
            {
                "write into a directory": "Read-only file system",
                "read a home directory": "Permission denied",
                "read a file of another in /tmp": "No such file or directory",
                "open a device": "No such file or directory",
                "read /proc/stat": "No such file or directory",
                "create a user namespace": denied,
                "open a netlink socket": "Address family not supported by protocol",
                "set a set-user-ID bit": denied,
                "change the personality": denied,
                "lower the priority": denied,
                "change an owner": denied,
                "add a key": denied,
                "use asynchronous I/O": denied,
                "processes of others": 0,
                "mask": "0077",
                "capabilities": 0,
                # root and the user itself
                "users": 2,
            },
        )

    def test_adapted_unit(self) -> None:
        """The lines that the guide adds to the unit permit what they are for, and nothing else."""
        page = (ROOT / "docs" / "guides" / "confinement.md").read_text("utf-8")
        table = page.partition("## Permit more\n\n")[2].partition("\n\n")[0]
        lines = [line for line in re.findall(r"`(\w+=[^`]+)`", table) if not line.startswith("IPAddress")]
        self.assertGreater(len(lines), 6)
        self.machine.unit("errklein.service.d/adapted.conf", "\n".join(["[Service]", *lines, ""]))
        self.start()
        found = json.loads(self.post("/tries"))
        possible = {name for name, result in found.items() if result == "possible"}
        expected = {"write into a directory", "read a home directory", "open a device", "read /proc/stat"}
        self.assertEqual(possible, expected | {"open a netlink socket", "lower the priority"})
        self.assertEqual((found["mask"], found["processes of others"] > 0), ("0027", True))
