"""Messages about GitLab's events."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from errklein.sources import find_source
from errklein.testing.source_contract import SourceContract
from errklein.verify import Received, Refused
from errklein.webhooks.source import Event
from tests.sources.events import Sample, example, in_file
from tests.sources.in_a_room import InARoomCase

GITLAB = find_source("gitlab")
TEST = "https://gitlab.com/FabioRosado/test-project/-"
ISSUE = f"issue [#1 New test issue]({TEST}/issues/1) in FabioRosado/test-project"
MERGE = f"merge request [!1 Test MR]({TEST}/merge_requests/1) in FabioRosado/test-project"
REVERT = (
    f'merge request [!2 Revert Merge branch "test" into "main"]({TEST}/merge_requests/2) in FabioRosado/test-project'
)
SHOP = "https://gitlab.example.net/shop/website"
IN_SHOP = f"in [shop/website]({SHOP})"
COMMIT = f"{SHOP}/-/commit/3a1b5c0f6c0e44b3a1a6e2f7c2f1c9d0e8b7a6f5"

MESSAGES = (
    (
        "push",
        (
            "John Smith pushed 4 commits to master in [mike/diaspora](http://example.com/mike/diaspora)\n"
            "- [b6568db](http://example.com/mike/diaspora/commit/b6568db1bc1dcd7f8b4d5a946b0b91f9dacd7327)"
            " Update Catalan translation to e38cb41. (Jordi Mallach)\n"
            "- [da15608](http://example.com/mike/diaspora/commit/da1560886d4f094c3e6c9ef40349f7d38b5d27d7)"
            " fixed readme (GitLab dev user)\n… and 2 more"
        ),
    ),
    *(
        (event, f"Fabio Rosado {done} {thing}")
        for event, done, thing in (
            ("issue.opened", "opened", f"{ISSUE}\n> Test description"),
            ("issue.update", "changed the description of", ISSUE),
            ("issue.update", "changed the labels of", ISSUE),
            (
                "issue.update",
                "changed the labels of",
                ISSUE.replace("#1 New test issue", "#2 test").replace("s/1", "s/2"),
            ),
            ("issue.close", "closed", ISSUE),
            ("issue.reopen", "reopened", ISSUE),
            ("merge_request.opened", "opened", MERGE),
            ("merge_request.update", "changed the labels of", MERGE),
            ("merge_request.update", "changed the labels of", MERGE),
            ("merge_request.approved", "approved", MERGE),
            ("merge_request.merge", "merged", MERGE),
            ("merge_request.close", "closed", REVERT),
            ("merge_request.reopen", "reopened", REVERT),
        )
    ),
    ("tag_push", f"Ada Novak created tag v2.1 {IN_SHOP}"),
    ("push", f"Ada Novak deleted branch old {IN_SHOP}"),
    (
        "push",
        f"Ada Novak pushed 31 commits to main {IN_SHOP}\n"
        + f"- [3a1b5c0]({COMMIT}) Show the basket (Ada Novak)\n" * 5
        + "… and 26 more",
    ),
    (
        "note.create",
        (
            f"Ada Novak commented on merge request [!12 Show the basket on phones]({SHOP}/-/merge_requests/12#note_1244)"
            " in shop/website\n> Could you add a test for the empty basket?"
        ),
    ),
    (
        "note.create",
        f"Ada Novak commented on commit [3a1b5c0 Show the basket]({COMMIT}#note_1245) in shop/website\n> Nice",
    ),
    ("wiki_page.create", f"Ada Novak created wiki page [Deployments]({SHOP}/-/wikis/deployments) in shop/website"),
    ("build.failed", f"❌ job unit: failed (main) {IN_SHOP}"),
    ("deployment.success", f"✅ deployment to [production]({SHOP}/-/jobs/1978): success (main) in shop/website"),
    ("feature_flag", f"Ada Novak turned on feature flag new-basket {IN_SHOP}"),
    ("release.create", f"GitLab created release [Winter]({SHOP}/-/releases/v2.1) in shop/website\n> \\## Changes"),
    (
        "emoji.award",
        f"Ada Novak added a reaction thumbsup to [this]({SHOP}/-/merge_requests/12#note_1244) in shop/website",
    ),
    ("access_token", f"GitLab reported the end of access token deploy on 2026-12-24 {IN_SHOP}"),
    ("milestone.close", f"GitLab closed milestone 2\\.1 {IN_SHOP}"),
    ("pipeline.failed", f"❌ pipeline [#1041]({SHOP}/-/pipelines/1041): failed (main) in shop/website\n- test: unit"),
)


def recorded() -> list[Sample]:
    """Return all requests."""
    return [*in_file("gitlab.json"), *in_file("gitlab-synthetic.json")]


class GitLabContractTests(SourceContract, SynchronousTestCase):
    """What is expected of every source."""

    source = GITLAB
    every = 10

    def samples(self) -> Iterable[Sample]:
        return [example("gitlab"), *recorded()]


class GitLabTests(SynchronousTestCase):
    """The messages, and the two ways of verification."""

    maxDiff = None

    def read(self, payload: Any) -> Event:
        headers = [(b"content-type", b"application/json")]
        return GITLAB.read(Received("POST", "https://bot.example", headers, json.dumps(payload).encode(), "", 0))

    def test_messages(self) -> None:
        """Each message says who did what where, with one link and perhaps a quote or a list."""
        events = [self.read(json.loads(body)) for _, body in recorded()]
        for event, (name, text) in zip(events, MESSAGES, strict=True):
            self.assertEqual((event.name, event.text()), (name, text))

    def test_jobs_that_may_fail(self) -> None:
        """The message of a pipeline doesn't list jobs that may fail."""
        payload = json.loads(recorded()[-1][1])
        builds = [{"stage": "s", "name": f"j{n}", "status": "failed", "allow_failure": n % 2 == 1} for n in range(30)]
        text = self.read({**payload, "builds": builds}).text()
        self.assertIn("- s: j0\n- s: j2\n", text)
        self.assertNotIn("j1\n", text)
        self.assertTrue(text.endswith("more lines"), text)

    def test_member_of_a_group(self) -> None:
        """Groups report new members, without an address."""
        payload = {"event_name": "user_add_to_group", "user_name": "Ada", "group_path": "shop", "group_name": "Shop"}
        self.assertEqual(self.read(payload).text(), "Ada was added to shop")

    def test_reactions(self) -> None:
        """What happened to a reaction is the type of the event, or as documented its action."""
        given = {"name": "heart", "awarded_on_url": f"{SHOP}/-/issues/1"}
        reaction = {"object_kind": "emoji", "user": {"name": "Ada"}, "object_attributes": given}
        for kind, shown in (("award", "added"), ("revoke", "withdrew")):
            event = self.read({**reaction, "event_type": kind})
            self.assertEqual(event.name, f"emoji.{kind}")
            self.assertEqual(event.text(), f"Ada {shown} a reaction heart to [this]({SHOP}/-/issues/1)")

    def test_work_items(self) -> None:
        """An epic, task or incident is called what it is."""
        given = {"type": "Key Result", "action": "open", "iid": 3, "title": "Fast", "url": f"{SHOP}/-/work_items/3"}
        event = self.read({"object_kind": "work_item", "user": {"name": "Ada"}, "object_attributes": given})
        self.assertEqual(event.text(), f"Ada opened key result [#3 Fast]({SHOP}/-/work_items/3)")

    def test_job_of_an_old_version(self) -> None:
        """Before GitLab 16, the project of a job is in other fields."""
        payload = {"object_kind": "build", "build_name": "unit", "build_status": "success", "ref": "main"}
        place = {"project_name": "shop / website", "repository": {"homepage": SHOP}}
        self.assertEqual(
            self.read({**payload, **place}).text(), f"✅ job unit: success (main) in [shop / website]({SHOP})"
        )

    def test_unknown_event(self) -> None:
        """An event of which errklein knows nothing is named, with a link to the project."""
        payload = {"object_kind": "new", "project": {"path_with_namespace": "shop/website", "web_url": SHOP}}
        self.assertEqual(self.read(payload).text(), f"GitLab reported new {IN_SHOP}")

    def test_something_else(self) -> None:
        """What isn't an event of GitLab is described by its fields."""
        self.assertEqual(self.read({"title": "Backup", "state": "done"}).text(), "**Backup**\n- state: done")

    def test_signing_token(self) -> None:
        """A secret that begins with "whsec_" verifies GitLab's signature, and isn't accepted as a token; others are tokens."""
        token, signing = b"a-secret-token", b"whsec_b25lIHNlY3JldCBvZiBhIHdlYmhvb2s"
        verification = GITLAB.verification(secret=["env:A", "env:B"])
        received = Received("POST", "https://bot.example", [], b"{}", "", 1_800_000_000.0)
        by_token, by_signature = (
            replace(received, headers=list(verification.sign(received, secret))) for secret in (token, signing)
        )
        for secrets in ([token, signing], [signing, token]):
            verification.verify(by_token, secrets)
            verification.verify(by_signature, secrets)
        # The secret decides, and not which headers there are.
        both = replace(by_token, headers=[*by_token.headers, *by_signature.headers])
        for one in (token, signing):
            verification.verify(both, [one])
        leaked = replace(received, headers=[(b"x-gitlab-token", signing)])
        for request, secrets in (
            (by_token, [signing]),
            (by_signature, [token]),
            (leaked, [signing]),
            (leaked, [token]),
        ):
            self.assertRaises(Refused, verification.verify, request, secrets)
        self.assertEqual(verification.secret_headers, {b"x-gitlab-token", b"webhook-signature"})


class GitLabInARoomTests(InARoomCase):
    """A request with a token."""

    def test_gitlab(self) -> None:
        """GitLab sends a token."""
        sample = example("gitlab")
        self.check(
            "gitlab",
            sample,
            sample[1],
            "Ada Novak opened merge request !12 Show the basket on phones"
            " (https://gitlab.example.net/shop/website/-/merge_requests/12) in shop/website\n"
            " The basket was hidden below 600 pixels.",
        )

    def test_signing_token(self) -> None:
        """With the signing token that GitLab has made as its secret, a webhook accepts signed requests, and no token."""
        path, _ = self.make("gitlab")
        body = example("gitlab")[1]
        signing = "whsec_b25lIHNlY3JldCBvZiBhIHdlYmhvb2s"
        self.set_secret("gitlab", signing)
        status, sent = self.send(path, body, self.signed("gitlab", ({}, body), body, signing))
        self.assertEqual((status, len(sent)), (202, 1))
        self.assertEqual(self.send(path, body, {"X-Gitlab-Token": signing}), (401, []))
