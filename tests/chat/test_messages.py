"""Messages as plugins see them."""

from __future__ import annotations

from types import SimpleNamespace

from twisted.trial.unittest import SynchronousTestCase

from errklein.chat import Message


class MessageTests(SynchronousTestCase):
    """`Message`."""

    def test_nothing_given(self) -> None:
        """A message can be made of nothing."""
        message = Message()
        self.assertEqual(("", {}, {}), (message.body, message.extras, message.ctx))
        for said in (message.delayed, message.partial, message.is_direct, message.is_group, message.is_threaded):
            self.assertFalse(said)
        for value in (message.frm, message.to, message.parent, message.flow):
            self.assertIsNone(value)

    def test_extras_may_be_none(self) -> None:
        """As some backends say it."""
        self.assertEqual({}, Message(extras=None).extras)

    def test_written(self) -> None:
        """What is said and where may be changed."""
        message = Message("a")
        message.body = "b"
        message.parent = Message("c")
        message.delayed = message.partial = True
        self.assertEqual(("b", True, True, True), (str(message), message.is_threaded, message.delayed, message.partial))

    def test_clone(self) -> None:
        """A clone has all but the context, and what is changed in it stays in it."""
        message = Message("a", parent=Message("p"), delayed=True, partial=True, extras={"x": 1})
        message.ctx["step"] = 1
        copy = message.clone()
        copy.body = "b"
        copy.extras["x"] = 2
        self.assertEqual(("a", 1), (message.body, message.extras["x"]))
        self.assertIs(message.parent, copy.parent)
        self.assertTrue(copy.delayed and copy.partial)
        self.assertEqual({}, copy.ctx)

    def test_in_a_flow(self) -> None:
        """The context is the flow's, for a clone too; `flow` is the flow."""
        flow = SimpleNamespace(ctx={"step": 1})
        message = Message("a", flow=flow)
        self.assertIs(flow, message.flow)
        self.assertIs(flow.ctx, message.ctx)
        self.assertIs(flow.ctx, message.clone().ctx)
