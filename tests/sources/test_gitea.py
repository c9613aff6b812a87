"""Messages about events of Gitea and Forgejo."""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterable
from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from errklein.sources import find_source
from errklein.testing.source_contract import SourceContract
from errklein.verify import Received, Refused
from tests.sources.events import Sample, as_form, example, in_file
from tests.sources.in_a_room import InARoomCase

HEADER = "X-Gitea-Event"
GITEA = find_source("gitea")
SHOP = "https://git.example.net/shop/website"
SHA = "5f3e1c2b4a6978d0e1f2a3b4c5d6e7f809182736"
COMPARE = f"{SHOP}/compare/28e1879d029cb852e4844d9c718537df08844e03...{SHA}"
PULL = f"pull request [#12 Show the basket on phones]({SHOP}/pulls/12) in shop/website"
ISSUE = f"[#7 The basket is hidden on phones]({SHOP}/issues/7"

MESSAGES = (
    ("push", f"ada created tag [v2.1]({COMPARE}) in shop/website"),
    (
        "push",
        f"ada pushed 9 commits to [main]({COMPARE}) in shop/website\n"
        + f"- [5f3e1c2]({SHOP}/commit/{SHA}) Show the basket (Ada Novak)\n" * 5
        + "… and 4 more",
    ),
    ("create", f"ada created branch basket in [shop/website]({SHOP})"),
    ("delete", f"ada deleted branch basket in [shop/website]({SHOP})"),
    ("fork", "ada forked shop/website to [ada/website](https://git.example.net/ada/website)"),
    ("issues.opened", f"ada opened issue {ISSUE}) in shop/website\n> Below 600 pixels."),
    ("issues.label_updated", f"ada changed the labels of issue {ISSUE}) in shop/website"),
    ("issue_comment.created", f"ada commented on issue {ISSUE}#issuecomment-5) in shop/website\n> Which phone?"),
    ("pull_request.opened", f"ada opened {PULL}\n> Closes \\#7"),
    ("pull_request.closed", f"ada merged {PULL}"),
    ("pull_request_approved.reviewed", f"ada approved {PULL}\n> Good"),
    (
        "release.published",
        f"ada published release [Winter]({SHOP}/releases/tag/v2.1) in shop/website\n> The basket is shown on phones.",
    ),
    ("repository.created", f"ada created [shop/website]({SHOP})"),
    ("wiki.edited", f"ada edited wiki page Deployments in [shop/website]({SHOP})"),
    (
        "package.created",
        (
            "ada created package [website 2\\.1](https://git.example.net/shop/-/packages/container/website/2.1)"
            " in shop/website"
        ),
    ),
    ("status", "❌ ci/unit of [5f3e1c2](https://ci.example.net/7): failure (3 tests failed) in shop/website"),
    ("workflow_run.completed", f"✅ [Show the basket]({SHOP}/actions/runs/9): success (main) in shop/website"),
)


class GiteaContractTests(SourceContract, SynchronousTestCase):
    """What is expected of every source."""

    source = GITEA
    every = 10

    def samples(self) -> Iterable[Sample]:
        return [example("gitea", HEADER), *in_file("gitea-synthetic.json", HEADER)]


class ForgejoContractTests(SourceContract, SynchronousTestCase):
    """Forgejo sends the same, also under its own names of headers."""

    source = find_source("forgejo")

    def samples(self) -> Iterable[Sample]:
        return [example("gitea", "X-Forgejo-Event")]


class GiteaTests(SynchronousTestCase):
    """The messages, and the signature."""

    def test_messages(self) -> None:
        """Each message says who did what where, with one link and perhaps a quote or a list."""
        for (headers, body), (name, text) in zip(in_file("gitea-synthetic.json", HEADER), MESSAGES, strict=True):
            pairs = [(b"content-type", b"application/json"), (b"x-gitea-event", headers[HEADER].encode())]
            # Sent, too, for receivers that know GitHub only.
            pairs.append((b"x-github-event", b"other"))
            event = GITEA.read(Received("POST", "https://bot.example", pairs, body, "", 0))
            self.assertEqual((event.name, event.text()), (name, text))

    def test_comment_on_a_pull_request(self) -> None:
        """A comment on a pull request, which Gitea calls an issue, says so."""
        [(_, body)] = [one for one in in_file("gitea-synthetic.json", HEADER) if one[0][HEADER] == "issue_comment"]
        payload = json.loads(body)
        payload["issue"]["pull_request"] = {"merged": False, "html_url": f"{SHOP}/pulls/7"}
        pairs = [(b"content-type", b"application/json"), (b"x-gitea-event", b"issue_comment")]
        event = GITEA.read(Received("POST", "https://bot.example", pairs, json.dumps(payload).encode(), "", 0))
        self.assertIn("ada commented on pull request [#7 The basket", event.text())

    def test_forgejo(self) -> None:
        """Forgejo names its events in a header of its own, too."""
        for name in (b"x-forgejo-event", b"x-gogs-event"):
            headers = [(b"content-type", b"application/json"), (name, b"push")]
            received = Received("POST", "https://bot.example", headers, example("gitea")[1], "", 0)
            self.assertEqual(find_source("forgejo").read(received).name, "push")

    def test_form(self) -> None:
        """Of a form, the JSON in its field is signed, and read."""
        headers, body = as_form(example("gitea"))
        payload = example("gitea")[1]
        signature = hmac.digest(b"secret", payload, "sha256").hex().encode()
        pairs = [
            (b"content-type", headers["Content-Type"].encode()),
            (b"x-gitea-event", b"push"),
            (b"x-gitea-signature", signature),
        ]
        received = Received("POST", "https://bot.example", pairs, body, "", 0)
        verification = GITEA.verification(secret="env:SECRET")
        verification.verify(received, [b"secret"])
        self.assertEqual(GITEA.read(received).payload, json.loads(payload))
        for other in (
            b"payload=%7B%7D",
            b"",
            b"payload=" + b"&" * 2000,
            b"payload=%ff",
            b"payload=\xff",
            b"payload=%7B%7D&" + body,
        ):
            self.assertRaises(Refused, verification.verify, replace(received, body=other), [b"secret"])
        # As much as is signed is read, whatever the form has beside it and whichever charset is declared.
        more = replace(received, body=body + b"&payload=%7B%7D&x=1")
        utf_7 = replace(received, headers=[(b"content-type", pairs[0][1] + b"; charset=utf-7"), *pairs[1:]])
        for other_request in (more, utf_7):
            verification.verify(other_request, [b"secret"])
            self.assertEqual(GITEA.read(other_request).payload, json.loads(payload))


class GiteaInARoomTests(InARoomCase):
    """A signed request."""

    def test_gitea(self) -> None:
        """Gitea signs the JSON, also that in a form; so does Forgejo."""
        shop, new = "https://git.example.net/shop/website", "5f3e1c2b4a6978d0e1f2a3b4c5d6e7f809182736"
        message = (
            f"ada pushed 1 commit to main ({shop}/compare/28e1879d029cb852e4844d9c718537df08844e03...{new})"
            f" in shop/website\n- 5f3e1c2 ({shop}/commit/{new}) Show the basket (Ada Novak)"
        )
        sample = example("gitea", "X-Gitea-Event")
        self.check("gitea", sample, sample[1], message)
        self.check("forgejo", as_form(sample), sample[1], message)
