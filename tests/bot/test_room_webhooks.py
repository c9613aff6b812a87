"""Webhooks of rooms over time: rotated, moved, expired, restarted, restored, and on every storage."""

from __future__ import annotations

import io
import os
import shutil
import sqlite3
import sys
from collections.abc import Coroutine, Iterable
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, DeferredList
from twisted.trial.unittest import SynchronousTestCase

from errklein import cli
from errklein.bot._bot import HealthChecks
from errklein.bot.room_webhooks import MadeWebhook
from errklein.commands.operations import Actor
from errklein.config import SecretError, SecretStore
from errklein.storage import StorageError
from errklein.testing import TestBot
from errklein.text.masking import masker
from errklein.verify import digest_of
from errklein.webhooks.option_values import HookError
from errklein.webhooks.options import RoomWebhook
from tests.processes import ERRKLEIN, run, write_config
from tests.real_bot import RealBotCase

T = TypeVar("T")

PAYLOADS = Path(__file__).parents[2] / "docs" / "examples" / "recipes" / "payloads"
FIRING = (PAYLOADS / "alertmanager-firing.json").read_bytes()
SITE = "https://bot.example.net"
ALICE = Actor("alice")
HOUR = 3600.0
DAY = 24 * HOUR


STORAGE = """
import json
from pathlib import Path
from errbot.storage.base import StorageBase, StoragePluginBase

class Texts(StoragePluginBase):
    def open(self, namespace):
        return Namespace(Path("DIRECTORY", f"{namespace}.json"))

class Namespace(StorageBase):
    def __init__(self, path):
        self.path = path

    def values(self):
        return json.loads(self.path.read_text()) if self.path.exists() else {}

    def set(self, key, value):
        self.path.write_text(json.dumps({**self.values(), key: value}))

    def get(self, key):
        return self.values()[key]

    def remove(self, key):
        values = self.values()
        del values[key]
        self.path.write_text(json.dumps(values))

    def len(self):
        return len(self.values())

    def keys(self):
        return self.values().keys()

    def close(self):
        pass
"""


class RoomWebhooksCase(SynchronousTestCase):
    """A bot with a data directory, which can be started again."""

    storage = "Shelf"
    storages: Path | None = None
    site = SITE

    def setUp(self) -> None:
        """Start the bot."""
        self.data = Path(self.mktemp()).resolve()
        self.data.mkdir()
        # They look at the files in a thread, every few seconds of months.
        self.patch(HealthChecks, "start", lambda checks: None)
        self.start(0)

    def start(self, time: float) -> None:
        """Start the bot at this time."""
        settings = {
            "BOT_EXTRA_STORAGE_PLUGINS_DIR": str(self.storages) if self.storages else None,
            "PUBLIC_URL": self.site,
            "CHATROOM_PRESENCE": ("#ops", "#dev"),
            "STORAGE": self.storage,
        }
        self.bot = TestBot(config={**settings, "BOT_DATA_DIR": str(self.data)})
        self.bot.reactor.advance(time)
        self.bot.start()

    def tearDown(self) -> None:
        """Stop the bot."""
        self.bot.stop()

    def restart(self) -> None:
        """Stop the bot and start it again, at the same time."""
        time = self.bot.reactor.seconds()
        self.bot.stop()
        self.start(time)

    def do(self, operation: Coroutine[Any, Any, T]) -> T:
        """Return the result of an operation."""
        done = Deferred.fromCoroutine(operation)
        self.bot.advance(0)
        result: T = self.successResultOf(done)
        return result

    def error(self, operation: Coroutine[Any, Any, T]) -> str:
        """Return the text of the HookError that an operation raises."""
        failure = self.failureResultOf(Deferred.fromCoroutine(operation), HookError)
        return str(failure.value)

    @property
    def webhooks(self) -> Any:
        """The operations."""
        return self.bot.bot.core_host.room_webhooks

    def make(self, *, room: str = "#ops", name: str = "", signed: bool | None = None, expires: str = "") -> MadeWebhook:
        """Make a webhook of Alertmanager."""
        made: MadeWebhook = self.do(self.webhooks.create(ALICE, "alertmanager", room, name, signed, expires))
        return made

    def status(self, made: MadeWebhook, *, secret: str | None = None) -> int:
        """Return the status of the response to an alert, which is signed if the webhook has a secret."""
        secret = made.secret if secret is None else secret
        headers = {"Content-Type": "application/json"}
        if secret:
            headers["Authorization"] = f"Bearer {secret}"
        response = self.bot.post(made.url.removeprefix(SITE), body=FIRING, headers=headers)
        self.bot.advance(0.1)
        return self.successResultOf(response).status

    def alerts(self, room: str) -> int:
        """Return the number of alerts in the room."""
        return sum("DiskFull" in text for text in self.bot.sent_to(room))

    def wait(self, seconds: float) -> None:
        """Let time pass, in which the bot looks at its webhooks at least once a day."""
        for _ in range(int(seconds // DAY)):
            self.bot.advance(DAY)
        self.bot.advance(seconds % DAY)

    def secrets_stored(self) -> list[str]:
        """Return the names of the secrets in the data directory."""
        return SecretStore.of(self.data).names()


class RotateTests(RoomWebhooksCase):
    """New tokens and secrets."""

    def test_token(self) -> None:
        """After a rotation, the address before works for 24 hours, and the new one for longer."""
        old = self.make()
        new = self.do(self.webhooks.rotate(ALICE, "alertmanager"))
        self.assertNotEqual(old.url, new.url)
        self.wait(23 * HOUR + 59 * 60)
        self.assertEqual((self.status(old), self.status(new)), (202, 202))
        self.wait(2 * 60)
        self.assertEqual((self.status(old), self.status(new)), (401, 202))

    def test_secret(self) -> None:
        """The same for a signing secret, whose file is removed after 24 hours."""
        old = self.make(signed=True)
        new = self.do(self.webhooks.rotate(ALICE, "alertmanager"))
        self.assertEqual(old.url, new.url)
        self.wait(23 * HOUR + 59 * 60)
        self.assertEqual((self.status(old), self.status(new)), (202, 202))
        self.assertEqual(len(self.secrets_stored()), 2)
        self.wait(2 * 60)
        self.assertEqual((self.status(old), self.status(new)), (401, 202))
        self.assertEqual(len(self.secrets_stored()), 1)

    def test_twice(self) -> None:
        """A second rotation within 24 hours ends the first secret at once."""
        made = [self.make(signed=True), *(self.do(self.webhooks.rotate(ALICE, "alertmanager")) for _ in range(2))]
        self.assertEqual([self.status(one) for one in made], [401, 202, 202])
        self.assertEqual(len(self.secrets_stored()), 2)

    def test_after_a_restart(self) -> None:
        """The old secret is valid, and ends, as if the bot had run all the time, also if it didn't at that moment."""
        old = self.make(signed=True)
        new = self.do(self.webhooks.rotate(ALICE, "alertmanager"))
        self.wait(HOUR)
        self.restart()
        self.assertEqual((self.status(old), self.status(new)), (202, 202))
        self.wait(23 * HOUR)
        self.restart()
        self.bot.advance(0)
        self.assertEqual((self.status(old), self.status(new)), (401, 202))
        self.assertEqual(len(self.secrets_stored()), 1)

    def test_given_secret(self) -> None:
        """A secret of the administrator's choice replaces the bot's, which is valid for 24 hours more."""
        made = self.make(signed=True)
        self.do(self.webhooks.change(ALICE, "alertmanager", "secret", " of the source "))
        self.assertEqual((self.status(made), self.status(made, secret="of the source")), (202, 202))
        self.wait(DAY + 1)
        self.assertEqual((self.status(made), self.status(made, secret="of the source")), (401, 202))
        for secret in (" ", "x" * 1001):
            self.assertIn("empty, or longer", self.error(self.webhooks.change(ALICE, "alertmanager", "secret", secret)))

    def test_secret_for_a_token(self) -> None:
        """A webhook whose address has a token gets no secret."""
        self.make()
        self.assertIn("token", self.error(self.webhooks.change(ALICE, "alertmanager", "secret", "x")))


class ChangeTests(RoomWebhooksCase):
    """Names, rooms and options."""

    def test_move(self) -> None:
        """Messages go to the other room from now on, and after a restart; the address stays."""
        made = self.make()
        self.status(made)
        self.do(self.webhooks.move(ALICE, "alertmanager", "#dev"))
        self.status(made)
        self.restart()
        self.status(made)
        self.assertEqual(self.alerts("#ops") + self.alerts("#dev"), 1)
        self.assertEqual(self.webhooks.find("alertmanager").room, "test:#dev")

    def test_network_that_is_gone(self) -> None:
        """After its network has got another name, a webhook responds with 503, with a notice, until it is moved."""
        made = self.make()
        store = self.bot.storage.open("room webhooks")
        store.set("alertmanager", {**store.get("alertmanager"), "room": "old:#ops"})
        self.restart()
        self.assertEqual(self.status(made), 503)
        self.assertIn("the bot has no network old; use `webhook move", "\n".join(self.bot.sent_to("@admin")))
        self.assertIn("made in old:#ops by alice, all requests get 503", self.bot.command("!webhook show alertmanager"))
        self.do(self.webhooks.move(ALICE, "alertmanager", "#dev"))
        self.assertEqual((self.status(made), self.alerts("#dev")), (202, 1))

    def test_rooms_of_the_command_line(self) -> None:
        """The bot joins a room that it isn't in, where a command of the shell makes a webhook, or moves one."""
        self.make(room="#new")
        self.do(self.webhooks.move(ALICE, "alertmanager", "#other"))
        self.bot.advance(0)
        listed = self.bot.command("!room list")
        self.assertIn("#new", listed)
        self.assertIn("#other", listed)

    def test_events(self) -> None:
        """Only the events that are wanted are shown; "all" shows all again."""
        made = self.make()
        self.do(self.webhooks.change(ALICE, "alertmanager", "events", "resolved, silenced.*"))
        self.assertEqual((self.status(made), self.alerts("#ops")), (202, 0))
        self.restart()
        self.assertEqual(self.webhooks.find("alertmanager").events, ("resolved", "silenced.*"))
        self.assertEqual((self.status(made), self.alerts("#ops")), (202, 0))
        self.do(self.webhooks.change(ALICE, "alertmanager", "events", "all"))
        self.assertEqual((self.status(made), self.alerts("#ops")), (202, 1))

    def test_invalid_changes(self) -> None:
        """Errors name the option and valid values, and nothing changes."""
        self.make()
        before = self.webhooks.find("alertmanager")
        for option, value, error in (
            ("event", "push", "unknown option 'event'; did you mean 'events'?"),
            ("room", "#dev", "unknown option 'room'; expected one of events, expires, messages, rate, text, secret"),
            ("messages", "many", "messages: expected a rate such as '10/s', '100/min' or '1000/h', not 'many'"),
            (
                "expires",
                "soon",
                "expires: expected a future time such as '90d' or '2027-01-31', or 'never', not 'soon'",
            ),
            ("events", "a/b", "events: expected at most 50 names of events"),
        ):
            self.assertIn(error, self.error(self.webhooks.change(ALICE, "alertmanager", option, value)))
        self.assertEqual(self.webhooks.find("alertmanager"), before)
        self.assertIn("no webhook 'alertmanger'", self.error(self.webhooks.move(ALICE, "alertmanger", "#dev")))

    def test_names(self) -> None:
        """The name is the source's, with a number if it is taken; a name that is invalid or taken is an error."""
        self.assertEqual(
            [self.make().webhook.name for _ in range(3)], ["alertmanager", "alertmanager-2", "alertmanager-3"]
        )
        self.assertEqual(self.make(name="disks").webhook.name, "disks")
        for name in ("disks", "Disks", "a:b", "x" * 41, "ekt" + "a" * 26):
            self.assertIn("name", self.error(self.webhooks.create(ALICE, "alertmanager", "#ops", name)))

    def test_removed(self) -> None:
        """A removed webhook answers 404, also after a restart, and its secret is gone. Its name is free, and not paused."""
        made = self.make(signed=True)
        self.do(self.bot.bot.core_host.webhooks.pause(ALICE, "alertmanager"))
        self.do(self.webhooks.remove(ALICE, "alertmanager"))
        self.assertEqual((self.status(made), self.secrets_stored()), (404, []))
        self.restart()
        self.assertEqual(self.status(made), 404)
        again = self.make()
        self.assertEqual((self.status(again), self.alerts("#ops")), (202, 1))


class ExpiryTests(RoomWebhooksCase):
    """Webhooks that expire."""

    def notices(self, to: str) -> list[str]:
        """Return the notices of an expiry that a room or person got."""
        return [text for text in self.bot.sent_to(to) if "expires at" in text]

    def test_notice_and_end(self) -> None:
        """Three days before, the room and administrators get one notice. Afterwards, requests get 410."""
        made = self.make(expires="10d")
        self.wait(7 * DAY - 1)
        self.assertEqual((self.notices("#ops"), self.notices("@admin")), ([], []))
        self.wait(1)
        self.assertEqual((len(self.notices("#ops")), len(self.notices("@admin"))), (1, 1))
        self.assertIn("webhook set alertmanager expires 90d", self.notices("#ops")[0])
        self.wait(3 * DAY - 1)
        self.assertEqual(self.status(made), 202)
        self.wait(1)
        self.assertEqual(self.status(made), 410)
        self.assertEqual((len(self.notices("#ops")), len(self.notices("@admin"))), (1, 1))

    def test_one_notice_in_spite_of_restarts(self) -> None:
        """A restart repeats no notice, and one that was due while the bot didn't run is sent at the start."""
        self.make(expires="10d")
        self.wait(6 * DAY)
        self.restart()
        self.wait(1.5 * DAY)
        self.assertEqual(len(self.notices("#ops")), 1)
        self.restart()
        self.wait(DAY)
        self.assertEqual(len(self.notices("#ops")), 0)

    def test_revival(self) -> None:
        """Within seven days, an expired webhook works again with another expiry."""
        made = self.make(expires="1d")
        self.wait(7 * DAY)
        self.assertEqual(self.status(made), 410)
        self.do(self.webhooks.change(ALICE, "alertmanager", "expires", "90d"))
        self.assertEqual(self.status(made), 202)
        self.wait(87 * DAY)
        self.assertEqual(len(self.notices("#ops")), 1)
        self.do(self.webhooks.change(ALICE, "alertmanager", "expires", "never"))
        self.wait(30 * DAY)
        self.assertEqual(self.status(made), 202)

    def test_removal(self) -> None:
        """Seven days after the expiry, the webhook is removed, with its secret."""
        made = self.make(signed=True, expires="1d")
        self.wait(8 * DAY - 1)
        self.assertEqual((self.status(made), len(self.secrets_stored())), (410, 1))
        self.wait(2)
        self.assertEqual((self.status(made), self.secrets_stored(), self.webhooks.all()), (404, [], []))

    def test_response_in_the_form_of_the_source(self) -> None:
        """A tool that posts as to Slack gets Slack's error."""
        made = self.do(self.webhooks.create(ALICE, "slack", "#ops", "", None, "1d"))
        self.wait(DAY)
        response = self.successResultOf(self.bot.post(made.url.removeprefix(SITE), body=b'{"text": "x"}'))
        self.assertEqual((response.status, response.text), (404, "no_service"))

    def test_date(self) -> None:
        """A date is that of the last day."""
        self.make(expires="2000-01-31")
        expires = self.webhooks.find("alertmanager").expires
        self.assertEqual(datetime.fromtimestamp(expires).isoformat(), "2000-02-01T00:00:00")


class RestoreTests(RoomWebhooksCase):
    """A bot on another machine, with a backup that has the stored secrets or not."""

    def move_machine(self, *options: str) -> None:
        """Back up with these options, and restore and start on another machine."""
        self.patch(sys, "stdout", io.StringIO())
        before, after = (Path(self.mktemp()).resolve() for _ in range(2))
        self.data, old = after / "data", self.data
        for directory, data in ((before, old), (after, self.data)):
            directory.mkdir()
            write_config(directory, {"BOT_DATA_DIR": str(data)})
        self.assertEqual(cli.main(["backup", *options, "--config", str(before / "config.py")]), 0)
        self.bot.stop()
        copies = [shutil.copy2(path, after) for path in old.glob("backup.*")]
        self.assertEqual(len(copies), 3 if options else 2)
        self.assertEqual(cli.main(["restore", str(after / "backup.jsonl"), "--config", str(after / "config.py")]), 0)
        self.start(0)

    def test_without_secrets(self) -> None:
        """Addresses with a token work. Signed webhooks respond with 503, about which there is one notice with all names."""
        token = self.make()
        signed = [self.make(signed=True) for _ in range(3)]
        self.move_machine()
        self.assertEqual([self.status(one) for one in (token, *signed)], [202, 503, 503, 503])
        notices = [text for text in self.bot.sent_to("@admin") if "503" in text]
        self.assertEqual(len(notices), 1)
        self.assertIn("alertmanager-2, alertmanager-3, alertmanager-4", notices[0])
        new = self.do(self.webhooks.rotate(ALICE, "alertmanager-2"))
        self.assertEqual((self.status(new), self.status(signed[0])), (202, 401))

    def test_with_secrets(self) -> None:
        """All work."""
        made = [self.make(), self.make(signed=True), self.make(signed=True)]
        made.append(self.do(self.webhooks.rotate(ALICE, "alertmanager-3")))
        self.move_machine("--with-secrets")
        self.assertEqual([self.status(one) for one in made], [202] * 4)
        self.assertFalse([text for text in self.bot.sent_to("@admin") if "503" in text])

    def test_orphaned_secrets(self) -> None:
        """A secret that no webhook uses is removed at a start, unless it is recent."""
        used = self.make(signed=True)
        store = SecretStore.of(self.data)
        old, recent = (store.write("x", "unused secret") for _ in range(2))
        for path in store.directory.iterdir():
            if path.name != recent.removeprefix("secret:"):
                os.utime(path, (-8 * DAY, -8 * DAY))
        os.utime(store.directory / recent.removeprefix("secret:"), (-6 * DAY, -6 * DAY))
        self.restart()
        self.assertRaises(SecretError, store.read, old)
        self.assertEqual(store.read(recent), b"unused secret")
        self.assertEqual(self.status(used), 202)

    def test_values_of_a_later_version(self) -> None:
        """A webhook that a later version has stored responds with 503, with a notice, and it and its secret are kept."""
        self.make(signed=True)
        store = self.bot.storage.open("room webhooks")
        store.set("alertmanager", {**store.get("alertmanager"), "version": 2})
        (path,) = (self.data / "secrets").iterdir()
        os.utime(path, (-8 * DAY, -8 * DAY))
        self.restart()
        self.assertIn("later version", self.error(self.webhooks.move(ALICE, "alertmanager", "#dev")))
        self.assertIn("later version", "\n".join(self.bot.sent_to("@admin")))
        self.assertTrue(path.exists())
        self.assertIn("alertmanager", self.bot.storage.open("room webhooks").keys())

    def test_unusable_values(self) -> None:
        """Damaged values are left out with one notice; the others work. Their names are taken until they are removed."""
        made = self.make(signed=True)
        store = self.bot.storage.open("room webhooks")
        good = store.get("alertmanager")
        damaged = [{"source": "gone"}, {"expires": "x"}, {"expires": -1}, {"previous": ["x"]}, {"rate": "x"}]
        for number, one in enumerate([{**good, "secret": "", **values} for values in damaged]):
            store.set(f"damaged-{number}", one)
        store.set("damaged-5", "text")
        # The name of a plugin's webhook.
        store.set("Webserver:echo", {**good, "secret": ""})
        self.restart()
        self.assertEqual(self.status(made), 202)
        self.assertEqual(
            [
                self.successResultOf(self.bot.post(f"/hooks/damaged-{number}", body=FIRING)).status
                for number in range(6)
            ],
            [503] * 6,
        )
        notices = [text for text in self.bot.sent_to("@admin") if "503" in text]
        self.assertEqual(len(notices), 1)
        self.assertIn("damaged-0, damaged-1, damaged-2", notices[0])
        self.assertIn("damaged-0: there is no source 'gone'", notices[0])
        self.assertIn("there is no source 'gone'", self.error(self.webhooks.rotate(ALICE, "damaged-0")))
        self.assertIn("already", self.error(self.webhooks.create(ALICE, "alertmanager", "#ops", "damaged-1")))
        for name in (*(f"damaged-{number}" for number in range(6)), "Webserver:echo"):
            self.do(self.webhooks.remove(ALICE, name))
        self.assertIn("Webserver:echo", self.bot.bot.web.routes.declarations())
        self.assertEqual([*self.bot.storage.open("room webhooks").keys()], ["alertmanager"])
        self.assertEqual(self.successResultOf(self.bot.post("/hooks/damaged-1", body=FIRING)).status, 404)
        self.assertEqual(self.make(name="damaged-1").webhook.name, "damaged-1")


class ConfiguredTests(RoomWebhooksCase):
    """Webhooks of the configuration beside stored ones."""

    def configure(self, *webhooks: RoomWebhook) -> None:
        """Use these, as after a reload."""
        self.webhooks.use_settings({one.name: one for one in webhooks})
        self.bot.advance(0)

    def of_file(self, name: str, room: str = "#ops") -> tuple[RoomWebhook, MadeWebhook]:
        """Return a webhook of the configuration, and what its source is given."""
        url, token = f"{SITE}/hooks/{name}/x", digest_of(b"x")
        webhook = RoomWebhook(name, "alertmanager", room, token=token, is_from_file=True)
        return webhook, MadeWebhook(webhook, url, "", ())

    def test_read_only(self) -> None:
        """One of the configuration works, and can't be changed by commands."""
        webhook, given = self.of_file("alerts")
        self.configure(webhook)
        self.assertEqual((self.status(given), self.alerts("#ops")), (202, 1))
        for operation in (
            self.webhooks.move(ALICE, "alerts", "#dev"),
            self.webhooks.rotate(ALICE, "alerts"),
            self.webhooks.remove(ALICE, "alerts"),
            self.webhooks.change(ALICE, "alerts", "events", "x"),
        ):
            self.assertIn("is in the configuration file", self.error(operation))
        self.assertIn("already", self.error(self.webhooks.create(ALICE, "alertmanager", "#ops", "alerts")))

    def test_changed_and_removed(self) -> None:
        """A change applies at once, and one that is removed gets 404. Stored ones stay."""
        stored, (webhook, given) = self.make(), self.of_file("alerts")
        self.configure(webhook)
        self.configure(self.of_file("alerts", "#dev")[0])
        self.assertEqual((self.status(given), self.alerts("#dev")), (202, 1))
        self.configure()
        self.assertEqual((self.status(given), self.status(stored)), (404, 202))

    def test_name_of_an_unusable_one(self) -> None:
        """A stored one that can't be used responds with 503 again when that of the configuration is removed."""
        stored, (webhook, given) = self.make(), self.of_file("alertmanager")
        store = self.bot.storage.open("room webhooks")
        store.set("alertmanager", {**store.get("alertmanager"), "source": "gone"})
        self.restart()
        self.configure(webhook)
        self.assertEqual(self.status(given), 202)
        self.configure()
        self.assertEqual(self.status(stored), 503)

    def test_same_name(self) -> None:
        """One of the configuration replaces a stored one of the same name, with a notice, until it is removed."""
        stored, (webhook, given) = self.make(expires="1d"), self.of_file("alertmanager", "#dev")
        self.configure(webhook)
        self.assertEqual((self.status(given), self.status(stored)), (202, 401))
        notices = [text for text in self.bot.sent_to("@admin") if "made in a chat" in text]
        self.assertEqual(len(notices), 1)
        self.configure()
        self.assertEqual((self.status(given), self.status(stored)), (401, 202))
        self.configure(webhook)
        self.wait(9 * DAY)
        self.assertEqual(self.status(given), 202)
        self.configure()
        self.assertEqual(self.status(given), 404)


class FailingStorageTests(RoomWebhooksCase):
    """A storage that can't write, such as a third party's without its server."""

    def test_nothing_changes(self) -> None:
        """An operation that can't be stored is an error, and the webhooks are as before, also after a restart."""
        made = self.make(signed=True)
        before = self.webhooks.all()

        def fail(*_: object) -> None:
            raise StorageError("the server is gone")

        store = type(self.bot.storage.open("room webhooks"))
        for name, operation in (
            ("set", lambda: self.webhooks.create(ALICE, "alertmanager", "#ops")),
            ("set", lambda: self.webhooks.rotate(ALICE, "alertmanager")),
            ("set", lambda: self.webhooks.move(ALICE, "alertmanager", "#dev")),
            ("remove", lambda: self.webhooks.remove(ALICE, "alertmanager")),
        ):
            patch = self.patch(store, name, fail)
            failure = self.failureResultOf(Deferred.fromCoroutine(operation()), StorageError)
            patch.restore()
            self.assertIn("the server is gone", str(failure.value))
            self.assertEqual((self.webhooks.all(), self.status(made)), (before, 202))
        self.restart()
        self.assertEqual((self.webhooks.all(), self.status(made)), (before, 202))
        self.do(self.webhooks.move(ALICE, "alertmanager", "#dev"))

    def test_retry_of_what_is_due(self) -> None:
        """The end of a secret is tried again a minute later."""
        self.make(signed=True)
        self.do(self.webhooks.rotate(ALICE, "alertmanager"))

        def fail(*_: object) -> None:
            raise StorageError("the server is gone")

        patch = self.patch(type(self.bot.storage.open("room webhooks")), "set", fail)
        self.wait(DAY + 30)
        patch.restore()
        self.flushLoggedErrors(StorageError)
        self.assertEqual(len(self.secrets_stored()), 2)
        self.wait(60)
        self.assertEqual(len(self.secrets_stored()), 1)


class ThirdPartyStorageTests(RoomWebhooksCase):
    """A storage written for errbot, which can only store JSON."""

    storage = "Texts"

    def setUp(self) -> None:
        """Write the storage, and start the bot."""
        self.storages = Path(self.mktemp()).resolve()
        self.storages.mkdir()
        (self.storages / "texts.plug").write_text("[Core]\nName = Texts\nModule = texts\n")
        (self.storages / "texts.py").write_text(STORAGE.replace("DIRECTORY", str(self.storages)))
        super().setUp()

    def test_after_a_restart(self) -> None:
        """All that is known of a webhook survives a restart, and a removed one doesn't come back."""
        made = self.make(), self.make(signed=True, expires="30d")
        removed = self.make()
        self.do(self.webhooks.rotate(ALICE, "alertmanager-2"))
        self.do(self.webhooks.change(ALICE, "alertmanager-2", "events", "firing resolved"))
        self.do(self.webhooks.remove(ALICE, "alertmanager-3"))
        before = self.webhooks.all()
        self.restart()
        self.assertEqual(self.webhooks.all(), before)
        self.assertEqual([self.status(one) for one in (*made, removed)], [202, 202, 404])


class ReachTests(RoomWebhooksCase):
    """Who can reach an address without PUBLIC_URL."""

    site = ""

    def test_endpoints(self) -> None:
        """The reply has the URL of the first endpoint that is one, and says who can reach it."""
        listeners = self.bot.bot.web.listeners
        for endpoints, url, who in (
            ([], "https://YOUR-HOST/", "The bot doesn't listen yet"),
            (["unix:/run/bot"], "https://YOUR-HOST/", "Only a proxy can reach the bot. Replace YOUR-HOST"),
            (["unix:/run/bot", "tcp:3141:interface=127.0.0.1"], "http://127.0.0.1:3141/", "Only this computer"),
            (["tcp:3141"], "http://localhost:3141/", "Computers in this network can reach this address"),
            (["tcp:80:interface=10.0.0.1"], "http://10.0.0.1:80/", "Only computers that can connect to 10.0.0.1"),
        ):
            patch = self.patch(type(listeners), "open_now", endpoints)
            made = self.make()
            patch.restore()
            self.assertTrue(made.url.startswith(f"{url}hooks/alertmanager"), made.url)
            self.assertTrue(made.reach.startswith(who), made.reach)
            self.assertIn("set PUBLIC_URL; see docs/guides/reach-the-bot.md", made.reach)

    def test_of_several_processes(self) -> None:
        """Another process may open the endpoint, and one that only other processes use isn't an address."""
        listeners = self.bot.bot.web.listeners
        listeners.note_others("tcp:0:interface=127.0.0.1", [])
        self.patch(type(listeners), "open_now", [listeners.node])
        self.assertIn("The bot doesn't listen yet", self.make().reach)
        self.assertIn("no address", self.bot.command("!status"))
        listeners.note_others(listeners.node, ["tcp:3141:interface=10.0.0.1"])
        self.assertTrue(self.make().url.startswith("http://10.0.0.1:3141/hooks/alertmanager"))
        self.bot.command("!plugin activate Webserver")
        for command in ("!status", "!webstatus"):
            shown = self.bot.command(command)
            self.assertIn("tcp:3141:interface=10.0.0.1", shown)
            self.assertNotIn("tcp:0", shown)


class ConcurrentTests(RealBotCase):
    """Operations at the same time, on a storage that works in a thread."""

    config = {"STORAGE": "Shelf"}

    async def test_one_after_the_other(self) -> None:
        """Names are given once, the last rotation counts, and a webhook is removed once."""
        webhooks = self.bot.core_host.room_webhooks

        def together(operations: Iterable[Coroutine[Any, Any, T]]) -> Deferred[list[tuple[bool, T]]]:
            return DeferredList([Deferred.fromCoroutine(one) for one in operations], consumeErrors=True)  # type: ignore[return-value]

        made = await together(webhooks.create(ALICE, "alertmanager", "#ops", signed=True) for _ in range(10))
        self.assertEqual(len({one.webhook.name for _, one in made}), 10)
        rotated = await together(webhooks.rotate(ALICE, "alertmanager") for _ in range(5))
        last = webhooks.find("alertmanager")
        assert last is not None and last.previous is not None
        self.assertEqual(last, rotated[-1][1].webhook)
        self.assertEqual(last.previous[0], rotated[-2][1].webhook.secret)
        removed = await together(webhooks.remove(ALICE, "alertmanager-2") for _ in range(3))
        self.assertEqual([succeeded for succeeded, _ in removed], [True, False, False])
        secrets = SecretStore.of(self.bot.bot_config.BOT_DATA_DIR).names()
        self.assertEqual(
            sorted(f"secret:{name}" for name in secrets), sorted(r for w in webhooks.all() for r in w.references)
        )


class SecrecyTests(RoomWebhooksCase):
    """Tokens and secrets are shown once, to whom they are given."""

    def test_everywhere(self) -> None:
        """None is in the log, in a message, in a file other than that of the secret, in a backup, in output or in a repr."""
        made = [self.make(), self.make(signed=True), self.do(self.webhooks.create(ALICE, "slack", "#ops"))]
        removed = self.make()
        for one in (*made, removed):
            self.status(one)
        made += [self.do(self.webhooks.rotate(ALICE, one.webhook.name)) for one in made]
        self.do(self.webhooks.remove(ALICE, removed.webhook.name))
        foreign = "a secret of the source's"
        self.do(self.webhooks.change(ALICE, "alertmanager-2", "secret", foreign))
        made.append(removed)
        for one in made:
            self.status(one)
            self.status(one, secret="wrong")
            path = one.url.removeprefix(SITE)
            for method, target in (
                ("GET", path),
                ("POST", f"{path}/slack"),
                ("POST", f"{path}/%ff%00"),
                ("POST", f"{path}/../x"),
                ("POST", f"{path}?wait=true"),
                ("POST", path.replace("hooks", "elsewhere")),
            ):
                self.bot.request(method, target, FIRING, headers={"Referer": one.url}).addErrback(lambda _: None)
                self.bot.advance(0.1)
        for command in (
            *(
                "webstatus",
                "webhook list",
                "webhook show alertmanager",
                "webhook show alertmanager-2",
                "status",
                "history",
            ),
            *("delivery list", "delivery show 1", "why alertmanager", "why refused", "plugin info Webhooks", "uptime"),
        ):
            self.bot.say(f"!{command}")
        shown = {"messages": "\n".join(self.bot.messages), "log": masker("\n".join(self.bot.log))}
        shown["repr"] = repr((made, self.webhooks.all(), self.bot.bot.web.routes.hooks()))
        self.bot.stop()
        shown["output"] = self.output_of(
            ["backup"], ["delivery", "list"], ["delivery", "show", "1"], ["webhook", "list"]
        )
        self.output_of(["delivery", "export", "1", "--directory", str(self.data)])
        with closing(sqlite3.connect(self.data / "journal.sqlite")) as journal:
            shown["journal"] = "\n".join(journal.iterdump())
        files = [path for path in self.data.rglob("*") if path.is_file() and path.parent.name != "secrets"]
        self.assertGreaterEqual({path.name for path in files}, {"errklein.sqlite", "journal.sqlite", "backup.jsonl"})
        raw = {path.name: path.read_bytes().decode("latin-1") for path in files}
        tokens = {one.url.rpartition("/")[2] for one in made if not one.secret}
        secrets = {one.secret for one in made if one.secret} | {foreign}
        self.assertEqual((len(tokens), len(secrets)), (5, 3))
        found = [(place, token) for place, text in (shown | raw).items() for token in tokens if token in text]
        # A bearer token is in the journal until its delivery ends, and SQLite doesn't overwrite its log at once.
        files_of_journal = {name for name in raw if name.startswith("journal.sqlite")}
        places = {name: text for name, text in (shown | raw).items() if name not in files_of_journal}
        found += [(place, secret) for place, text in places.items() for secret in secrets if secret in text]
        self.assertEqual(found, [])
        self.assertIn("alertmanager", shown["output"])
        self.start(0)

    def output_of(self, *commands: list[str]) -> str:
        """Return what the command line prints."""
        directory = Path(self.mktemp()).resolve()
        directory.mkdir()
        write_config(directory, {"BOT_DATA_DIR": str(self.data)})
        ended = [run(ERRKLEIN, *words, cwd=directory) for words in commands]
        return "\n".join(one.stdout + one.stderr for one in ended)


class MemoryTests(RoomWebhooksCase):
    """STORAGE = "Memory"."""

    storage = "Memory"

    def test_until_the_restart(self) -> None:
        """Webhooks work, and end with the process."""
        made = self.make(), self.make(signed=True)
        self.assertEqual(made[0].reach, "STORAGE is 'Memory', so the webhook ends with the process.")
        self.assertEqual([self.status(one) for one in made], [202, 202])
        self.do(self.webhooks.move(ALICE, "alertmanager", "#dev"))
        self.status(made[0])
        self.assertEqual((self.alerts("#ops"), self.alerts("#dev")), (2, 1))
        self.restart()
        self.assertEqual([self.status(one) for one in made], [404, 404])
