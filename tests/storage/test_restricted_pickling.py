"""An outside pickle creates values, and never executes other code."""

from __future__ import annotations

import copyreg
import os
import pickle
import re
import time
import tracemalloc
import uuid
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Collection
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path, PurePosixPath, PureWindowsPath
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein.storage.pickling import (
    DEFAULT_READER,
    STANDARD_NAMES,
    DamagedPickle,
    ForbiddenName,
    RefusedPickle,
    dumps,
    is_standard,
    names_in,
    plain_value,
)
from tests.storage.hostile_pickles import hostile_pickles

HASHABLE = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.complex_numbers(allow_nan=False)
    | st.text()
    | st.binary()
    | st.dates()
    | st.datetimes()
    | st.datetimes(timezones=st.just(timezone(timedelta(hours=2), "CEST")))
    | st.datetimes(timezones=st.just(ZoneInfo("UTC")))
    | st.times()
    | st.timedeltas()
    | st.decimals(allow_nan=False)
    | st.fractions()
    | st.uuids()
    | st.ip_addresses()
    | st.builds(PurePosixPath, st.text(st.characters(codec="ascii", exclude_characters="\0")))
    | st.builds(range, st.integers(), st.integers())
)
VALUES = st.recursive(
    HASHABLE
    | st.frozensets(HASHABLE)
    | st.sets(HASHABLE)
    | st.builds(bytearray, st.binary())
    | st.just(re.compile("a+")),
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(HASHABLE, inner)
        | st.builds(OrderedDict, st.dictionaries(st.text(), inner))
        | st.builds(lambda items: defaultdict(list, items), st.dictionaries(st.text(), inner))
        | st.builds(deque, st.lists(inner), st.integers(0, 5))
        | st.builds(Counter, st.lists(HASHABLE))
        | st.builds(lambda value: SimpleNamespace(value=value), inner)
    ),
    max_leaves=8,
)


def restricted_loads(data: bytes, trusted: Collection[str] = ()) -> Any:
    """Return the restored value."""
    return DEFAULT_READER.load("Greeter", data, trusted)


class AllowedTests(SynchronousTestCase):
    @settings(deadline=None, max_examples=150)
    @given(VALUES, st.sampled_from(range(pickle.HIGHEST_PROTOCOL + 1)))
    def check_round_trip(self, value: Any, protocol: int) -> None:
        """Read the value as pickle and errklein write it."""
        for data in (pickle.dumps(value, protocol), dumps(value)):
            self.assertTrue(all(is_standard(*name) for name in names_in(data)), names_in(data))
            read = restricted_loads(data)
            self.assertEqual((read, type(read)), (value, type(value)))

    def test_round_trip(self) -> None:
        """Values of the allowed classes are read unchanged, in every pickle protocol."""
        self.check_round_trip()

    def test_more_classes(self) -> None:
        """Rarer allowed classes, such as paths, networks and time zones, are read unchanged."""
        for value in (
            Path("a/b"),
            PureWindowsPath("C:/a"),
            ip_network("10.0.0.0/8"),
            ip_interface("::1/64"),
            ip_address("::1"),
            time.gmtime(0),
            slice(1, 2),
            Ellipsis,
            NotImplemented,
            uuid.UUID(int=1),
            date(2020, 1, 1),
            datetime(2020, 1, 1, tzinfo=ZoneInfo("Europe/Berlin")),
            [Decimal("1.50"), Fraction(1, 3)],
            [int, str, dict],
            b"",
        ):
            for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
                data = pickle.dumps(value, protocol)
                self.assertTrue(all(is_standard(*name) for name in names_in(data)), (value, names_in(data)))
                self.assertEqual(restricted_loads(data), value)

    def test_table(self) -> None:
        """Every name in the table exists."""
        for module, names in STANDARD_NAMES.items():
            for name in names:
                self.assertIsNotNone(DEFAULT_READER._allowed("Greeter", (), module, name), f"{module}.{name}")

    def test_trusted(self) -> None:
        """A trusted name is used; other names aren't."""
        data = pickle.dumps([os.getcwd])
        self.assertRaises(ForbiddenName, restricted_loads, data)
        trusted = {f"{module}.{name}" for module, name in names_in(data)}
        self.assertEqual(restricted_loads(data, trusted=trusted), [os.getcwd])
        self.assertRaises(ForbiddenName, restricted_loads, pickle.dumps([os.getcwd, os.getpid]), trusted=trusted)


class HostileTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Set the path of the file that hostile pickles would create."""
        self.ran = Path(self.mktemp()).absolute()

    def test_refused(self) -> None:
        """Every hostile pickle is refused by a forbidden name, and no code is executed."""
        count = 0
        for hostile in hostile_pickles(self.ran):
            error = self.assertRaises(ForbiddenName, restricted_loads, hostile.data)
            self.assertIn(error.name, hostile.names, hostile.what)
            self.assertIn(f"--trust {error.name}", str(error))
            self.assertRaises(ValueError, plain_value, hostile.data)
            count += 1
        self.assertGreaterEqual(count, 20)
        self.assertFalse(self.ran.exists())

    def test_listed(self) -> None:
        """`names_in` lists the names of each hostile pickle without executing code."""
        for hostile in hostile_pickles(self.ran):
            forbidden = {f"{module}.{name}" for module, name in names_in(hostile.data) if not is_standard(module, name)}
            self.assertEqual(forbidden, hostile.names, hostile.what)
        self.assertFalse(self.ran.exists())

    def test_they_work(self) -> None:
        """The hostile pickles are effective: the standard unpickler creates the file."""
        hostile = next(hostile_pickles(self.ran))
        pickle.loads(hostile.data)
        self.assertTrue(self.ran.exists())

    def test_extension_registry(self) -> None:
        """A class that is named by a registered number is refused, even after it was used."""
        copyreg.add_extension("posix", "getcwd", 0x7F)
        self.addCleanup(copyreg.remove_extension, "posix", "getcwd", 0x7F)
        for data in (b"\x82\x7f.", b"\x83\x7f\x00.", b"\x84\x7f\x00\x00\x00."):
            self.assertIs(pickle.loads(data), os.getcwd)
            self.assertRaises(RefusedPickle, restricted_loads, data)
            self.assertRaises(ValueError, plain_value, data)
            self.assertIn("extension", str(self.assertRaises(DamagedPickle, names_in, data)))

    def test_persistent_ids(self) -> None:
        """A persistent id is refused."""
        for data in (b"P1\n.", b"V1\nQ."):
            self.assertRaises(pickle.UnpicklingError, restricted_loads, data)
            self.assertRaises(DamagedPickle, names_in, data)

    def test_attributes_of_classes(self) -> None:
        """A pickle can't set attributes of a class or function."""
        for data in (
            b"cfractions\nFraction\n(N}Vevil\nI1\nstb.",
            b"cre\n_compile\n}Vevil\nI1\nsb.",
            b"cuuid\nSafeUUID\n(I0\ntR}Vevil\nI1\nsb.",
        ):
            self.assertRaises(RefusedPickle, restricted_loads, data)
        self.assertFalse(any(hasattr(thing, "evil") for thing in (Fraction, re._compile, uuid.SafeUUID.safe)))

    def test_announced_sizes(self) -> None:
        """A small pickle that announces a large bytearray takes little memory; a complete bytearray is read."""
        value = [bytearray(b"abc"), date(2026, 1, 31)]
        self.assertEqual(restricted_loads(dumps(value)), value)
        for size in (1 << 33, 1 << 63):
            data = b"\x80\x05cdatetime\ndate\n\x96" + size.to_bytes(8, "little") + b"."
            tracemalloc.start()
            try:
                self.assertRaises(DamagedPickle, names_in, data)
                self.assertRaises(RefusedPickle, restricted_loads, data)
                self.assertLess(tracemalloc.get_traced_memory()[1], 1 << 20)
            finally:
                tracemalloc.stop()

    def test_names_that_are_no_strings(self) -> None:
        """A name that isn't a plain string is refused."""
        for data in (b"\x80\x04I1\nI2\n\x93.", b"\x80\x04cbuiltins\nstr\n(Vos\ntRcbuiltins\nstr\n(Vsystem\ntR\x93."):
            self.assertRaises((pickle.UnpicklingError, ForbiddenName, RefusedPickle), restricted_loads, data)
            self.assertRaises(DamagedPickle, names_in, data)
        plugin_global = b"cerrklein.storage.pickling\nplugin_global\n(I1\nI2\ntR."
        self.assertRaises(RefusedPickle, restricted_loads, plugin_global)
        self.assertRaises(DamagedPickle, names_in, plugin_global)

    @settings(max_examples=300)
    @given(st.binary(max_size=60))
    def check_anything(self, data: bytes) -> None:
        """Read the bytes."""
        try:
            restricted_loads(b"\x80\x04" + data)
        except Exception as error:
            self.assertIsInstance(error, Exception)
        self.assertFalse(self.ran.exists())

    def test_anything(self) -> None:
        """Invalid bytes raise an error and never end the process."""
        self.check_anything()
