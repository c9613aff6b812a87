"""Messages about GitHub's events."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from errklein.sources import find_source
from errklein.testing.source_contract import SourceContract
from errklein.text import to_xhtml
from errklein.verify import Received
from errklein.webhooks.source import Event
from tests.sources.events import Sample, as_form, example, in_file
from tests.sources.in_a_room import InARoomCase

HEADER = "X-GitHub-Event"
GITHUB = find_source("github")
REPOSITORY = "https://github.com/Codertocat/Hello-World"
IN_REPOSITORY = f"in [Codertocat/Hello-World]({REPOSITORY})"


class GitHubContractTests(SourceContract, SynchronousTestCase):
    """What is expected of every source."""

    source = GITHUB
    every = 10

    def samples(self) -> Iterable[Sample]:
        return [example("github", HEADER), as_form(example("github", HEADER)), *in_file("github.json", HEADER)]


class GitHubTests(SynchronousTestCase):
    """The messages."""

    def read(self, event: str, payload: Any) -> Event:
        headers = [(b"content-type", b"application/json"), (b"x-github-event", event.encode())]
        return GITHUB.read(Received("POST", "https://bot.example", headers, json.dumps(payload).encode(), "", 0))

    def changed(self, name: str, **changes: Any) -> Event:
        """Return the event of the recorded payload with other fields."""
        found = next(json.loads(body) for headers, body in in_file("github.json", HEADER) if headers[HEADER] == name)
        return self.read(name, {**found, **changes})

    def test_messages(self) -> None:
        """Each message says who did what where, with one link and perhaps a quote."""
        pull = "[#2 Update the README with new information.](https://github.com/Codertocat/Hello-World/pull/2"
        expected = {
            "pull_request.opened": f"Codertocat opened pull request {pull}) in Codertocat/Hello-World\n"
            "> This is a pretty simple change that we need to pull into master.",
            "pull_request_review.submitted": f"Codertocat reviewed pull request {pull}#pullrequestreview-237895671)"
            " in Codertocat/Hello-World",
            "issues.labeled": f"Codertocat labeled issue [#1 Spelling error in the README file]({REPOSITORY}/issues/1)"
            " as bug in Codertocat/Hello-World",
            "issue_comment.created": "Codertocat commented on issue [#1 Spelling error in the README file]"
            f"({REPOSITORY}/issues/1#issuecomment-492700400) in Codertocat/Hello-World\n"
            "> You are totally right! I'll get this fixed right away.",
            "release.published": rf"Codertocat published release [0\.0.1]({REPOSITORY}/releases/tag/0.0.1)"
            " in Codertocat/Hello-World",
            "workflow_run.completed": "✅ [test](https://github.com/octo-org/octo-repo/actions/runs/289782451): success"
            " (master) in octo-org/octo-repo",
            "status": f"✅ default of [6113728]({REPOSITORY}/commit/6113728f27ae82c7b1a177c8d03f9e96e0adf246): success"
            " in Codertocat/Hello-World",
            "gollum": f"rachmari edited the wiki {IN_REPOSITORY}\n- edited [Home]({REPOSITORY}/wiki/Home)",
            "star.created": f"Codertocat starred [Codertocat/Hello-World]({REPOSITORY})",
            "ping": "Codertocat connected this room to the events of"
            " [Octocoders/Hello-World](https://github.com/Octocoders/Hello-World)\n"
            "> Anything added dilutes everything else.",
            "create": f"Codertocat created tag simple-tag {IN_REPOSITORY}",
            "security_advisory.published": "GitHub published advisory"
            " [Moderate severity vulnerability that affects django](https://nvd.nist.gov/vuln/detail/CVE-2018-6188)",
            "sponsorship.created": "monalisa created sponsorship of [octocat](https://github.com/octocat)",
            "page_build": f"pages: built {IN_REPOSITORY}",
            "repository.renamed": "Codertocat renamed [Octocoders/Hello-World](https://github.com/Octocoders/Hello-World),"
            " was Hello-World",
            "installation_repositories.added": "Codertocat added repositories of app"
            " [29310](https://github.com/settings/installations/957387)\n- Codertocat/Space",
        }
        shown = {}
        for headers, body in in_file("github.json", HEADER):
            event = self.read(headers[HEADER], json.loads(body))
            shown[event.name] = event.text()
        self.assertEqual(shown, expected)

    def test_push(self) -> None:
        """A push has a line for each of the first five commits."""
        commit = f"{REPOSITORY}/commit/6113728f27ae82c7b1a177c8d03f9e96e0adf246"
        payload = json.loads(example("github")[1])
        line = f"- [6113728]({commit}) Initial commit (Codertocat)"
        self.assertEqual(
            self.read("push", payload).text(),
            f"Codertocat pushed 1 commit to [master]({commit}) in Codertocat/Hello-World\n{line}",
        )
        payload = {**payload, "commits": payload["commits"] * 7, "forced": True}
        self.assertEqual(
            self.read("push", payload).text(),
            f"Codertocat force-pushed 7 commits to [master]({commit}) in Codertocat/Hello-World\n"
            + f"{line}\n" * 5
            + "… and 2 more",
        )

    def test_push_without_commits(self) -> None:
        """A push of a new tag, and one that deletes a branch, say so."""
        payload = {**json.loads(example("github")[1]), "commits": []}
        for before, after, ref, shown in (
            ("0" * 40, "1" * 40, "refs/tags/v1", "created tag [v1]"),
            ("1" * 40, "0" * 40, "refs/heads/a/b", "deleted branch [a/b]"),
            ("1" * 40, "2" * 40, "refs/heads/main", "pushed branch [main]"),
        ):
            changes = {"before": before, "after": after, "ref": ref}
            self.assertIn(f"Codertocat {shown}(", self.read("push", {**payload, **changes}).text())

    def test_merged(self) -> None:
        """A pull request that is closed since it was merged is called merged, others closed."""
        for merged_at, done in (("2019-05-15T15:20:34Z", "merged"), (None, "closed")):
            pull = {"number": 2, "title": "Fix", "html_url": f"{REPOSITORY}/pull/2", "merged_at": merged_at}
            event = self.changed("pull_request", action="closed", pull_request=pull)
            self.assertEqual(event.name, "pull_request.closed")
            self.assertIn(f"Codertocat {done} pull request [#2 Fix](", event.text())

    def test_organization(self) -> None:
        """Events of an organization name it, or the member; without an address of these, the person is linked."""
        own = {"organization": {"login": "shop"}, "sender": {"login": "ada", "html_url": "https://github.com/ada"}}
        bob = {"membership": {"user": {"login": "bob", "html_url": "https://github.com/bob"}}}
        for event, payload, text in (
            (
                "organization",
                {"action": "renamed", "changes": {"login": {"from": "store"}}},
                "[ada](https://github.com/ada) renamed shop, was store",
            ),
            ("organization", {"action": "member_added", **bob}, "ada added [bob](https://github.com/bob) to shop"),
            (
                "ping",
                {"zen": "Keep it simple."},
                "[ada](https://github.com/ada) connected this room to the events of shop",
            ),
        ):
            self.assertEqual(self.read(event, {**payload, **own}).text().partition("\n")[0], text)

    def test_approved(self) -> None:
        """A review says whether it approves or requests changes."""
        for state, shown in (
            ("approved", "approved"),
            ("changes_requested", "requested changes in"),
            ("commented", "reviewed"),
        ):
            event = self.changed("pull_request_review", review={"state": state, "body": "Good\n\nReally"})
            self.assertIn(f"Codertocat {shown} pull request", event.text())
            self.assertIn("\n> Good", event.text())

    def test_comment_on_a_pull_request(self) -> None:
        """A comment on a pull request, which GitHub calls an issue, says so."""
        issue = {"number": 2, "title": "Fix", "html_url": f"{REPOSITORY}/pull/2", "pull_request": {"url": "https://x"}}
        self.assertIn("commented on pull request [#2 Fix](", self.changed("issue_comment", issue=issue).text())

    def test_failure(self) -> None:
        """A state that needs attention has another sign than success; one that is neither has none."""
        for state, sign in (("failure", "❌ "), ("success", "✅ "), ("pending", "")):
            self.assertTrue(self.changed("status", state=state).text().startswith(f"{sign}default of "))

    def test_action_that_a_person_chose(self) -> None:
        """The name of an event that somebody sends by the API isn't taken for an action that GitHub knows."""
        for action in ("create", "deleted", "star", "team"):
            text = self.read("repository_dispatch", {"action": action, "sender": {"login": "ada"}}).text()
            self.assertEqual(text, f"ada sent event {action}")

    def test_newer_events(self) -> None:
        """Of events that the recorded ones don't have, people see what was done to what."""
        own = {"repository": {"full_name": "shop/website"}, "sender": {"login": "ada"}}
        sub_issue = {"number": 7, "title": "Hidden", "html_url": f"{REPOSITORY}/issues/7"}
        ruleset = {"name": "main", "_links": {"html": {"href": f"{REPOSITORY}/rules/1"}}}
        for event, payload, shown in (
            (
                "sub_issues",
                {"action": "parent_issue_added", "sub_issue": sub_issue},
                f"added a parent of sub-issue [#7 Hidden]({REPOSITORY}/issues/7)",
            ),
            (
                "repository_ruleset",
                {"action": "edited", "repository_ruleset": ruleset},
                f"edited ruleset [main]({REPOSITORY}/rules/1)",
            ),
            (
                "issues",
                {"action": "typed", "issue": sub_issue},
                f"set the type of issue [#7 Hidden]({REPOSITORY}/issues/7)",
            ),
        ):
            self.assertEqual(self.read(event, {**payload, **own}).text(), f"ada {shown} in shop/website")

    def test_unknown_event(self) -> None:
        """An event of which errklein knows nothing is named, with a link to the repository."""
        payload = json.loads(example("github")[1])
        self.assertEqual(
            self.read("new_event", {**payload, "action": "added"}).text(),
            f"Codertocat sent new_event.added {IN_REPOSITORY}",
        )
        self.assertEqual(self.read("new_event", payload).text(), f"Codertocat sent new_event {IN_REPOSITORY}")

    def test_hostile_name_of_an_event(self) -> None:
        """The name of an event, which isn't signed, is only shown."""
        text = self.read("{sender.login} [x](https://evil.example) @all", {}).text()
        self.assertNotIn("<a", to_xhtml(text))
        self.assertNotIn("@all", text)


class GitHubInARoomTests(InARoomCase):
    """A signed request."""

    def test_github(self) -> None:
        """GitHub signs the body, also that of a form."""
        commit = "https://github.com/Codertocat/Hello-World/commit/6113728f27ae82c7b1a177c8d03f9e96e0adf246"
        message = (
            f"Codertocat pushed 1 commit to master ({commit}) in Codertocat/Hello-World\n"
            f"- 6113728 ({commit}) Initial commit (Codertocat)"
        )
        sample = example("github", "X-GitHub-Event")
        self.check("github", sample, sample[1], message)
        self.check("github", as_form(sample), as_form(sample)[1], message)
