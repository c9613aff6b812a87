"""Tests of the recipes: each source's requests, signed as the source signs them, with a wrong secret, and repeated."""

import hmac
import runpy
from pathlib import Path

from errklein.testing import PluginTestCase

HERE = Path(__file__).resolve().parent
WEBHOOKS = runpy.run_path(str(HERE / "config.py"))["WEBHOOKS"]
SECRET = "only-the-source-and-the-bot"


def github(body, secret, now):
    return {"X-Hub-Signature-256": "sha256=" + hmac.digest(secret, body, "sha256").hex()}


def gitlab(body, secret, now):
    return {"X-Gitlab-Token": secret.decode()}


def alertmanager(body, secret, now):
    return {"Authorization": f"Bearer {secret.decode()}"}


def grafana(body, secret, now):
    signature = hmac.digest(secret, b"%d:" % now + body, "sha256").hex()
    return {"X-Grafana-Alerting-Signature": signature, "X-Grafana-Alerting-Timestamp": str(int(now))}


def sentry(body, secret, now):
    return {"Sentry-Hook-Signature": hmac.digest(secret, body, "sha256").hex(), "Sentry-Hook-Timestamp": str(int(now))}


def stripe(body, secret, now):
    signature = hmac.digest(secret, b"%d." % now + body, "sha256").hex()
    return {"Stripe-Signature": f"t={int(now)},v1={signature}"}


class RecipesTests(PluginTestCase):
    plugin_dirs = (HERE,)
    config = {"CHATROOM_PRESENCE": ("#ops",), "WEBHOOKS": WEBHOOKS}
    secrets = {options["secret"].removeprefix("env:"): SECRET for options in WEBHOOKS.values()}

    def send(self, path, file, sign, headers, secret=SECRET):
        """Send the request, and return the status of the response, after the handler has run."""
        body = (HERE / "payloads" / file).read_bytes()
        signed = sign(body, secret.encode(), self.bot.reactor.seconds())
        response = self.post(path, data=body, headers={"Content-Type": "application/json", **headers, **signed})
        self.bot.advance(1)
        return response.status

    def check(self, path, file, sign, message, headers=()):
        """Check that a wrong secret is refused, that the message is sent, and that a repeated delivery sends none."""
        request = path, file, sign, dict(headers)
        self.assertEqual(self.send(*request, secret="wrong"), 401)
        self.assertEqual(self.bot.sent_to("#ops"), [])
        for _ in range(2):
            self.assertEqual(self.send(*request), 202)
            self.assertEqual(self.bot.sent_to("#ops"), [message] if message else [])

    def test_github_push(self):
        """A push is announced with its last commit."""
        self.check(
            "/github",
            "github-push.json",
            github,
            "Codertocat pushed to master in Codertocat/Hello-World: Initial commit "
            "(https://github.com/Codertocat/Hello-World/commit/6113728f27ae82c7b1a177c8d03f9e96e0adf246)",
            {"X-GitHub-Event": "push", "X-GitHub-Delivery": "72d3162e-cc78-11e3-81ab-4c9367dc0958"},
        )

    def test_github_tag(self):
        """A new tag, which is a push without commits, isn't announced."""
        tag = {"ref": "refs/tags/v1.0", "commits": [], "head_commit": None}
        self.assertEqual(self.post("/github", tag, source="github", event="push").status, 202)
        self.bot.advance(0)
        self.assertEqual(self.bot.sent_to("#ops"), [])

    def test_github_release(self):
        """A release without a name is announced with its tag."""
        self.check(
            "/github",
            "github-release.json",
            github,
            "Codertocat released in Codertocat/Hello-World: 0.0.1 "
            "(https://github.com/Codertocat/Hello-World/releases/tag/0.0.1)",
            {"X-GitHub-Event": "release", "X-GitHub-Delivery": "8f5c21aa-cc78-11e3-81ab-4c9367dc0958"},
        )

    def test_github_ping(self):
        """GitHub's first request, a ping, is accepted and not announced."""
        self.check("/github", "github-push.json", github, None, {"X-GitHub-Event": "ping", "X-GitHub-Delivery": "1"})

    def test_gitlab(self):
        """A failed pipeline is announced with the job that failed, but not with one that may fail."""
        self.check(
            "/gitlab",
            "gitlab-pipeline.json",
            gitlab,
            "Pipeline 1041 (https://gitlab.example.net/shop/website/-/pipelines/1041) of shop/website "
            "failed on main: unit",
            {"X-Gitlab-Event": "Pipeline Hook", "Idempotency-Key": "f5cf6ee5-8f4a-4f0e-9d67-3c8a7bb1a5d4"},
        )

    def test_alertmanager(self):
        """Alerts are announced one by one when they fire, and again when they are resolved."""
        query = "(query) (http://prometheus.example.net:9090/graph?g0.expr=disk_free+%3C+0.03&g0.tab=1)"
        first, second = (
            f"FIRING DiskFull The disk of db-{number} is {percent} % full. {query}"
            for number, percent in ((1, 97), (2, 98))
        )
        self.check("/alertmanager", "alertmanager-firing.json", alertmanager, f"{first}\n{second}")
        self.assertEqual(self.send("/alertmanager", "alertmanager-resolved.json", alertmanager, {}), 202)
        resolved = first.replace("FIRING", "Resolved")
        self.assertEqual(self.bot.sent_to("#ops")[1:], [f"{resolved}\n{second}"])

    def test_alertmanager_without_a_query(self):
        """An alert that no rule of Prometheus has sent, such as one of amtool, has no link."""
        alert = {
            "status": "firing",
            "labels": {"alertname": "Test"},
            "annotations": {"summary": "x"},
            "generatorURL": "",
        }
        payload = {"status": "firing", "alerts": [alert] * 11, "truncatedAlerts": 2}
        self.post("/alertmanager", payload, source="bearer")
        self.bot.advance(0)
        self.assertEqual(self.bot.sent_to("#ops"), ["\n".join([*["FIRING Test x"] * 10, "… and 3 more"])])

    def test_grafana(self):
        """Alerts are announced with their summary, or without one with their values."""
        rule = "(rule) (https://grafana.example.net/alerting/grafana/1afz29v7z/view?orgId=1)"
        silence = (
            "(silence) (https://grafana.example.net/alerting/silence/new"
            "?alertmanager=grafana&matcher=alertname%3DHigh+memory+usage&matcher=zone%3Deu-1&orgId=1)"
        )
        self.check(
            "/grafana",
            "grafana-alerts.json",
            grafana,
            f"FIRING High memory usage Less than 5 % of memory is free in eu-1. {rule} {silence}\n"
            f"Resolved High memory usage A = 12.5, C = 0 {rule}",
        )

    def test_sentry(self):
        """An alert is announced with the issue's title, place and rule."""
        self.check(
            "/sentry",
            "sentry-alert.json",
            sentry,
            "error ZeroDivisionError: division by zero (https://sentry.io/organizations/example/issues/1117540176"
            "/events/e4874d664c3540c1a32eab185f12c5ab/) in shop.basket in total (rule New errors in production)",
            {"Sentry-Hook-Resource": "event_alert", "Request-ID": "6c1f7c4b5e1f4a0b8f0c6ea2a1e9d3b7"},
        )

    def test_stripe(self):
        """A failed payment is announced with the day of the next attempt."""
        self.check(
            "/stripe",
            "stripe-invoice.json",
            stripe,
            "(test mode) The payment of invoice 7C4B1F2E-0042 "
            "(https://invoice.stripe.com/i/acct_1Example/test_YWNjdF8x?s=ap) failed. "
            "Stripe tries again on 02 December.",
        )
