"""The image, the compose file and the manifests agree with each other and with errklein's settings."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from twisted.trial.unittest import SynchronousTestCase

from errklein.config import SETTINGS
from errklein.config.secrets import read_variables
from errklein.web import WebSettings
from tests.processes import ROOT
from tests.test_examples import load

FOLDER = ROOT / "errklein" / "examples" / "container"
DOCKERFILE, COMPOSE, MANIFESTS, CADDYFILE = (
    path.read_text("utf-8")
    for path in (ROOT / "Dockerfile", FOLDER / "compose.yaml", FOLDER / "kubernetes.yaml", FOLDER / "Caddyfile")
)


def variables(text: str) -> dict[str, str]:
    """Return the variables of errklein in a Dockerfile, a compose file or a manifest."""
    found = re.findall(
        r"""(?:name: )?\b(ERRKLEIN_\w+)(?:=|: |, value: |\n +value: )(["']?)(.+?)\2(?:\}| \\)?$""", text, re.M
    )
    return {name: value for name, _, value in found}


def required() -> Iterator[Requirement]:
    """Yield what setup.py requires of the image's packages."""
    tree = ast.parse((ROOT / "setup.py").read_text("utf-8"))
    named = {node.arg: node.value for node in ast.walk(tree) if isinstance(node, ast.keyword)}
    extras = ast.literal_eval(named["extras_require"])
    for line in ast.literal_eval(named["install_requires"]):
        yield Requirement(line)
    for extra in load(ROOT / ".ci" / "lock.py").EXTRAS:
        yield from map(Requirement, extras[extra])


class ImageTests(SynchronousTestCase):
    def test_packages(self) -> None:
        """The image has each package that errklein requires, in a version that setup.py permits, and with hashes."""
        text = (ROOT / "image" / "requirements.txt").read_text("utf-8")
        pins = re.findall(r"^([\w.-]+)==(\S+) \\\n +--hash=sha256:[0-9a-f]{64}\b", text, re.MULTILINE)
        locked = {canonicalize_name(name): Version(version) for name, version in pins}
        self.assertEqual(len(locked), len(re.findall(r"^\w", text, re.MULTILINE)))
        for requirement in required():
            if requirement.marker is None or requirement.marker.evaluate({"python_version": "3.13"}):
                version = locked[canonicalize_name(requirement.name)]
                self.assertTrue(requirement.specifier.contains(version), f"{requirement}: {version}; run .ci/lock.py")

    def test_builder_gets_what_git_tracks(self) -> None:
        """The builder doesn't get what git ignores, and gets all else, since the version depends on changes."""
        ignored = {
            name: {
                line.strip("/").removeprefix("**/") for line in (ROOT / name).read_text().splitlines() if line[0] != "#"
            }
            for name in (".gitignore", ".dockerignore")
        }
        self.assertEqual(ignored[".dockerignore"], ignored[".gitignore"])

    def test_user(self) -> None:
        """The user has the same number everywhere."""
        [uid, gid] = re.findall(r"^USER (\d+):(\d+)$", DOCKERFILE, re.MULTILINE)[0]
        self.assertIn(f"useradd --uid {uid} --gid {gid} ", DOCKERFILE)
        users = dict(re.findall(r"^ +(runAsUser|runAsGroup|fsGroup): (\d+)$", MANIFESTS, re.MULTILINE))
        self.assertEqual(users, {"runAsUser": uid, "runAsGroup": gid, "fsGroup": gid})
        page = (ROOT / "docs" / "guides" / "container.md").read_text("utf-8")
        self.assertEqual(set(re.findall(r"\b1\d{4}\b", page)), {uid})


class SettingsTests(SynchronousTestCase):
    def test_variables(self) -> None:
        """The variables are valid settings; files are those that are mounted."""
        for text, count in ((DOCKERFILE, 3), (COMPOSE, 8), (MANIFESTS, 9)):
            found = variables(text)
            self.assertEqual(len(found), count, found)
            files = {name: path for name, path in found.items() if name.startswith("ERRKLEIN_FILE__")}
            there = {"ERRKLEIN_SET__BOT_EXTRA_PLUGIN_DIR": str(FOLDER)} if text is not DOCKERFILE else {}
            read_variables({name: value for name, value in (found | there).items() if name not in files})
            for path in [*files.values(), *re.findall('file:(/[^"]+)', str(found))]:
                self.assertIn(str(Path(path).parent), f"{text} /run/secrets")
                self.assertIn(Path(path).name, COMPOSE.rpartition("\nsecrets:\n")[2])

    def test_ports(self) -> None:
        """Proxies and probes use the ports of the image."""
        settings = variables(DOCKERFILE)
        web = settings["ERRKLEIN_SET__WEB"].removeprefix("tcp:")
        status = settings["ERRKLEIN_SET__STATUS"].split(":")[1]
        self.assertIn(f"\nEXPOSE {web}\n", DOCKERFILE)
        self.assertIn(f"reverse_proxy bot:{web} ", CADDYFILE)
        ports = dict(re.findall(r"name: (web|status), containerPort: (\d+)", MANIFESTS))
        self.assertEqual(ports, {"web": web, "status": status})
        self.assertEqual(variables(MANIFESTS)["ERRKLEIN_SET__STATUS"], f"tcp:{status}")

    def test_trusted_proxy(self) -> None:
        """The bot of the compose file trusts the address that the proxy has."""
        [address] = re.findall(r"ipv4_address: ([\d.]+)", COMPOSE)
        self.assertIn(f'"{address}"', variables(COMPOSE)["ERRKLEIN_SET__TRUSTED_PROXIES"])

    def test_limits(self) -> None:
        """Proxies accept the bodies that errklein accepts, and wait longer than errklein does."""
        megabytes = SETTINGS["WEBHOOK_MAX_BODY"].default // (1024 * 1024)
        self.assertIn(f"max_size {megabytes}MiB\n", CADDYFILE)
        self.assertIn(f"proxy-body-size: {megabytes}m\n", MANIFESTS)
        timeout = SETTINGS["WEBHOOK_TIMEOUT"].default
        for seconds in (
            *re.findall(r"response_header_timeout (\d+)s", CADDYFILE),
            *re.findall('timeout: "(\\d+)"', MANIFESTS),
        ):
            self.assertGreater(int(seconds), timeout)
        [idle] = re.findall(r"keepalive (\d+)s", CADDYFILE)
        self.assertLess(int(idle), WebSettings().idle_deadline)

    def test_stop(self) -> None:
        """Containers are killed after errklein has stopped in order."""
        limits = re.findall(r"(?:stop_grace_period|terminationGracePeriodSeconds): (\d+)", COMPOSE + MANIFESTS)
        self.assertEqual(len(limits), 2)
        for seconds in limits:
            self.assertGreater(int(seconds), SETTINGS["GRACE_PERIOD"].default + 1)

    def test_least_rights(self) -> None:
        """Both containers of the compose file, and the pod, have no rights that they don't need."""
        for line in ("read_only: true", "cap_drop: [ALL]", 'security_opt: ["no-new-privileges:true"]'):
            self.assertEqual(COMPOSE.count(f"    {line}\n"), 2, line)
        for line in (
            "runAsNonRoot: true",
            "readOnlyRootFilesystem: true",
            "allowPrivilegeEscalation: false",
            "capabilities: {drop: [ALL]}",
            "seccompProfile: {type: RuntimeDefault}",
            "automountServiceAccountToken: false",
            "enableServiceLinks: false",
        ):
            self.assertIn(f" {line}\n", MANIFESTS)

    def test_probes(self) -> None:
        """A bot without its network stays in place, and gets webhooks; one that upgrades its journal isn't restarted."""
        probes = re.findall(r"(\w+)Probe:\n +httpGet: \{path: (\S+), port: status\}", MANIFESTS)
        self.assertEqual(probes, [("startup", "/health"), ("liveness", "/health"), ("readiness", "/ready/intake")])
