"""Tests of the GitHub notifier."""

import json
from pathlib import Path

from errklein.testing import PluginTestCase

HERE = Path(__file__).resolve().parent

OPENED = {
    "action": "opened",
    "issue": {"number": 1, "title": "Spelling error in the README file"},
    "repository": {"full_name": "Codertocat/Hello-World"},
    "sender": {"login": "Codertocat"},
}


class GitHubTests(PluginTestCase):
    plugin_dirs = (HERE,)
    config = {"CHATROOM_PRESENCE": ("#builds", "#talk")}

    def test_json(self):
        """A JSON event is posted as one line to each room."""
        response = self.post("/github", json=OPENED, headers={"X-GitHub-Event": "issues"})
        self.assertEqual(response.status, 200)
        for room in ("#builds", "#talk"):
            self.assertEqual(self.bot.sent_to(room), ["issues opened in Codertocat/Hello-World by Codertocat"])

    def test_form(self):
        """An event in a form is posted in the same way."""
        response = self.post("/github", data={"payload": json.dumps(OPENED)}, headers={"X-GitHub-Event": "issues"})
        self.assertEqual(response.status, 200)
        self.assertEqual(self.bot.sent_to("#builds"), ["issues opened in Codertocat/Hello-World by Codertocat"])

    def test_event_without_action(self):
        """A push has no action."""
        push = {key: value for key, value in OPENED.items() if key != "action"}
        self.post("/github", json=push, headers={"X-GitHub-Event": "push"})
        self.assertEqual(self.bot.sent_to("#talk"), ["push in Codertocat/Hello-World by Codertocat"])

    def test_organization_instead_of_repository(self):
        """An event without a repository names the organization."""
        payload = {"action": "member_added", "organization": {"login": "Octocoders"}, "sender": {"login": "Codertocat"}}
        self.post("/github", json=payload, headers={"X-GitHub-Event": "organization"})
        self.assertEqual(self.bot.sent_to("#talk"), ["organization member_added in Octocoders by Codertocat"])

    def test_nothing_but_an_action(self):
        """An event may have neither a repository nor a sender."""
        self.post("/github", json={"action": "published"}, headers={"X-GitHub-Event": "security_advisory"})
        self.assertEqual(self.bot.sent_to("#talk"), ["security_advisory published"])

    def test_names_are_shown_as_they_are(self):
        """Line ends and Markdown in names have no effect."""
        payload = {"repository": {"full_name": "__init__/*a*\n`b`"}, "sender": {"login": "dependabot[bot]"}}
        self.post("/github", json=payload, headers={"X-GitHub-Event": "push"})
        self.assertEqual(self.bot.sent_to("#talk"), ["push in __init__/*a* 'b' by dependabot[bot]"])

    def test_long_names_are_cut(self):
        """Long names are shortened."""
        payload = {"action": "x" * 5000, "repository": {"full_name": "y" * 5000}, "sender": {"login": "z" * 5000}}
        self.post("/github", json=payload, headers={"X-GitHub-Event": "push"})
        (line,) = self.bot.sent_to("#talk")
        self.assertLess(len(line), 350)

    def test_invalid_requests(self):
        """Invalid requests get 400, and nothing is posted."""
        github = {"X-GitHub-Event": "push"}
        for request in (
            {"json": OPENED},
            {"json": [1], "headers": github},
            {"data": {"other": "field"}, "headers": github},
            {"data": {"payload": "{"}, "headers": github},
            {"data": {"payload": "[]"}, "headers": github},
            {"data": "{", "headers": {"Content-Type": "application/json", **github}},
            {"headers": github},
        ):
            self.assertEqual(self.post("/github", **request).status, 400, request)
        self.assertEqual(self.bot.messages, [])


class VerifiedTests(PluginTestCase):
    """The plugin with the setting with which the bot accepts only GitHub's requests."""

    plugin_dirs = (HERE,)
    config = {
        "CHATROOM_PRESENCE": ("#builds",),
        "WEBHOOKS": {"GitHub:github": {"verify": "github", "secret": "env:GH_SECRET"}},
    }
    secrets = {"GH_SECRET": "known to GitHub and the bot"}

    def test_signed(self):
        """A signed event is posted, in either content type."""
        for body in ({"json": OPENED}, {"data": {"payload": json.dumps(OPENED)}}):
            self.assertEqual(self.post("/github", source="github", event="issues", **body).status, 200)
        self.assertEqual(self.bot.sent_to("#builds"), ["issues opened in Codertocat/Hello-World by Codertocat"] * 2)

    def test_not_signed(self):
        """Other requests are refused."""
        self.assertEqual(self.post("/github", OPENED, headers={"X-GitHub-Event": "issues"}).status, 401)
        self.assertEqual(self.bot.sent_to("#builds"), [])
