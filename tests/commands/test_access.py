"""Tests for the decision who may use which command."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein.commands import Caller, decide

ALICE = Caller("alice!a@example.org", None, is_admin=False)
ADMIN = Caller("root!r@example.org", None, is_admin=True)


def reason(
    caller: Caller = ALICE,
    rules: dict[str, dict[str, Any]] | None = None,
    default: dict[str, Any] | None = None,
    admin_only: bool = False,
    args: str = "",
) -> str:
    """Why the caller may not use "Health:status_gc"; empty if it is allowed."""
    denial = decide(
        "Health", "status_gc", args, caller, admin_only=admin_only, rules=rules or {}, default=default or {}
    )
    return denial.reason if denial else ""


def in_room(caller: Caller, room: str = "#ops") -> Caller:
    """The same caller, in a room."""
    return Caller(caller.user, room, caller.is_admin)


class DecideTests(SynchronousTestCase):
    """ACCESS_CONTROLS, ACCESS_CONTROLS_DEFAULT and admin-only commands."""

    def test_without_rules_everybody_may(self) -> None:
        """A command that isn't for admins only is open."""
        self.assertEqual(reason(), "")
        self.assertEqual(reason(in_room(ALICE)), "")

    def test_admin_only_commands_stay_so(self) -> None:
        """No rule opens an admin-only command to others."""
        allow_all = {"*": {"allowusers": ("*",), "allowmuc": True}}
        self.assertIn("requires bot-admin privileges", reason(admin_only=True, rules=allow_all))
        self.assertEqual(reason(ADMIN, admin_only=True), "")

    def test_admin_only_commands_need_a_rule_to_work_in_rooms(self) -> None:
        """An admin's room message is refused unless a rule has allowmuc."""
        self.assertIn("direct message", reason(in_room(ADMIN), admin_only=True))
        self.assertEqual(reason(in_room(ADMIN), admin_only=True, rules={"status_gc": {"allowmuc": True}}), "")

    def test_users_rooms_and_arguments(self) -> None:
        """Each kind of list allows by pattern and denies by pattern."""
        self.assertIn("from this user", reason(rules={"*": {"allowusers": ("bob!*",)}}))
        self.assertIn("from this user", reason(rules={"*": {"denyusers": "alice!*"}}))
        self.assertIn("from this room", reason(in_room(ALICE), rules={"*": {"allowrooms": ("#dev",)}}))
        self.assertIn("from this room", reason(in_room(ALICE), rules={"*": {"denyrooms": ("#o*",)}}))
        self.assertIn("provided arguments", reason(args="--all", rules={"*": {"denyargs": ("*all*",)}}))

    def test_kinds_of_messages(self) -> None:
        """Rooms and direct messages can be closed."""
        self.assertIn("from a chatroom", reason(in_room(ALICE), default={"allowmuc": False}))
        self.assertIn("via private message", reason(default={"allowprivate": False}))

    def test_first_pattern_wins_over_the_default(self) -> None:
        """The first rule that fits is laid over the default; later ones aren't looked at."""
        rules: dict[str, dict[str, Any]] = {
            "Health:status*": {"allowusers": ("alice!*",)},
            "*": {"allowusers": ("nobody",)},
        }
        self.assertEqual(reason(rules=rules, default={"allowusers": ("bob!*",)}), "")

    def test_spaces_and_case_in_patterns(self) -> None:
        """A pattern may be written as the command is given in chat, in either case."""
        self.assertIn("from this user", reason(rules={"Status GC": {"denyusers": ("*",)}}))

    def test_none_is_not_set(self) -> None:
        """A key whose value is None takes the default away instead of blocking in silence."""
        self.assertEqual(reason(rules={"*": {"allowusers": None}}, default={"allowusers": ("bob",)}), "")

    @given(st.text(min_size=1))
    def test_an_admin_name_must_match_exactly(self, name: str) -> None:
        """Whoever isn't an admin gets nowhere with an admin-only command, whatever the name."""
        self.assertNotEqual(reason(Caller(name, None, is_admin=False), admin_only=True), "")
