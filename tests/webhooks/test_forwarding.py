"""Tests for the forwarding headers of trusted proxies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein.text.errors import InvalidValue
from errklein.webhooks.forwarding import HEADERS, UNIX, UNKNOWN, Forwarded, TrustedProxies, parse_node

CLIENT = "203.0.113.9"
PROXY = "10.0.0.1"
XFF, PROTO, HOST = "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host"
PORT, PREFIX, FORWARDED, REAL = "X-Forwarded-Port", "X-Forwarded-Prefix", "Forwarded", "X-Real-IP"


def forwarded(
    table: Mapping[str, Sequence[str]], *headers: tuple[str, str], peer: str = PROXY, secure: bool = False
) -> Forwarded:
    """Return what is known about a request with these headers and the host `inner:8080`."""
    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in (("Host", "inner:8080"), *headers)]
    return TrustedProxies(table).forwarded(peer, secure, raw)


def client(table: Mapping[str, Sequence[str]], *headers: tuple[str, str], peer: str = PROXY) -> str | None:
    """Return the address of the client; None if it is the peer."""
    found = forwarded(table, *headers, peer=peer).client
    return None if found is None else found[0]


class ClientTests(SynchronousTestCase):
    """The address of the client."""

    def test_the_address_that_a_proxy_adds(self) -> None:
        """The last address is the client's; those on the left are what the client has sent."""
        for value in (CLIENT, f"127.0.0.1, {CLIENT}", f"{PROXY},127.0.0.1 ,\t{CLIENT}", f"nonsense\xff, {CLIENT}"):
            self.assertEqual(client({PROXY: [XFF]}, (XFF, value)), CLIENT)

    def test_several_lines(self) -> None:
        """Lines of the same header are one list."""
        self.assertEqual(client({PROXY: [XFF]}, (XFF, "127.0.0.1, 10.9.9.9"), (XFF, CLIENT)), CLIENT)
        chain = (XFF, CLIENT), (XFF, "10.0.0.2")
        self.assertEqual(client({"10.0.0.0/8": [XFF]}, *chain), CLIENT)

    def test_a_chain_of_proxies(self) -> None:
        """Addresses are read as long as the proxies are trusted, each by its own headers."""
        table = {PROXY: [XFF], "192.0.2.0/24": [REAL]}
        self.assertEqual(client(table, (XFF, "198.51.100.1, 192.0.2.7"), (REAL, CLIENT)), CLIENT)
        table = {PROXY: [XFF], "192.0.2.7": [XFF]}
        self.assertEqual(client(table, (XFF, "127.0.0.1, 198.51.100.1, 192.0.2.7")), "198.51.100.1")
        self.assertEqual(client({PROXY: [XFF]}, (XFF, "198.51.100.1, 192.0.2.7")), "192.0.2.7")

    def test_an_untrusted_peer(self) -> None:
        """The headers of a peer that isn't a trusted proxy are ignored."""
        spoofed = [(name, "192.0.2.1") for name in HEADERS]
        for peer in ("203.0.113.1", "::1", UNIX, "nonsense"):
            self.assertEqual(forwarded({PROXY: [XFF, PROTO, HOST]}, *spoofed, peer=peer), Forwarded())

    def test_headers_that_the_proxy_passes_on(self) -> None:
        """Only the named headers are read, even of a trusted proxy."""
        spoofed = [(name, "192.0.2.1") for name in HEADERS if name != REAL]
        self.assertEqual(forwarded({PROXY: [REAL]}, *spoofed, (REAL, CLIENT)), Forwarded(client=(CLIENT, 0)))
        self.assertEqual(forwarded({PROXY: []}, *spoofed, (REAL, CLIENT)), Forwarded())

    def test_similar_names(self) -> None:
        """A header with an underscore is another header."""
        self.assertIsNone(client({PROXY: [XFF]}, ("X_Forwarded_For", CLIENT)))

    def test_the_end_of_the_list(self) -> None:
        """A trusted machine that sends a request itself is the client."""
        self.assertIsNone(client({"10.0.0.0/8": [XFF]}))
        self.assertEqual(client({"10.0.0.0/8": [XFF]}, (XFF, "10.0.0.2")), "10.0.0.2")

    def test_the_smallest_network(self) -> None:
        """Of several networks, the smallest one counts, whatever the order."""
        for table in (
            {"10.0.0.0/8": [XFF], "10.0.0.1": [REAL], "8.0.0.0/6": [FORWARDED]},
            {"10.0.0.1": [REAL], "8.0.0.0/6": [FORWARDED], "10.0.0.0/8": [XFF]},
        ):
            headers = (XFF, "192.0.2.1"), (REAL, CLIENT), (FORWARDED, "for=192.0.2.2")
            self.assertEqual(client(table, *headers), CLIENT)

    def test_unix_sockets(self) -> None:
        """The clients of Unix sockets are trusted by their own key."""
        self.assertEqual(client({UNIX: [XFF]}, (XFF, CLIENT), peer=UNIX), CLIENT)
        self.assertIsNone(client({UNIX: [XFF]}, (XFF, CLIENT)))
        self.assertEqual(client({UNIX: [XFF], "0.0.0.0/0": [XFF]}, (XFF, f"{CLIENT}, unix"), peer=UNIX), UNKNOWN)

    def test_both_notations_of_ipv4(self) -> None:
        """An IPv4 address that is mapped to IPv6, as sockets for both have it, is the same address."""
        for table in ({PROXY: [XFF]}, {"::ffff:10.0.0.0/104": [XFF]}):
            for peer in (PROXY, f"::ffff:{PROXY}"):
                self.assertEqual(client(table, (XFF, f"::ffff:{CLIENT}"), peer=peer), CLIENT)
            self.assertIsNone(client(table, (XFF, CLIENT), peer="11.0.0.1"))

    def test_invalid_addresses(self) -> None:
        """A client without a valid address doesn't get the address of the proxy, which plugins may trust."""
        for value in (
            "",
            "nonsense",
            f"{CLIENT},",
            f"{CLIENT}, ",
            "1.2.3",
            "1.2.3.4.5",
            "01.2.3.4",
            "[::1",
            "fe80::1%lo",
        ):
            self.assertEqual(client({PROXY: [XFF]}, (XFF, value)), UNKNOWN, value)

    @given(
        st.lists(st.ip_addresses(), min_size=1, max_size=5),
        st.lists(st.sampled_from(["127.0.0.1", "junk", "", '"', "10.1.1.1", "for=1.1.1.1"]), max_size=4),
        st.data(),
    )
    def test_spoofed_addresses(self, hops: list[object], sent: list[str], data: st.DataObject) -> None:
        """Whatever a client sends, it gets the address that the outermost trusted proxy has seen."""
        trusted = {str(hop): [XFF] for hop in hops}
        # `::ffff:192.0.2.1` is the IPv4 address that it contains.
        addresses = {getattr(hop, "ipv4_mapped", None) or hop for hop in hops}
        outside = data.draw(st.ip_addresses(v=4).filter(lambda address: address not in addresses))
        peer, *others = hops
        chain = [*sent, str(outside), *(str(other) for other in reversed(others))]
        lines = data.draw(st.lists(st.booleans(), min_size=len(chain), max_size=len(chain)))
        headers: list[tuple[str, str]] = []
        for element, new_line in zip(chain, lines, strict=True):
            if new_line or not headers:
                headers.append((XFF, element))
            else:
                headers[-1] = XFF, f"{headers[-1][1]}, {element}"
        # Proxies twice in the chain are one proxy after the other too.
        self.assertEqual(client(trusted, *headers, peer=str(peer)), str(outside))


class ProxyHeaderTests(SynchronousTestCase):
    """Proxies that report the client's address in a PROXY header, and the rest in forwarding headers."""

    def read(self, table: Mapping[str, Sequence[str]], peer: str, *headers: tuple[str, str]) -> Forwarded:
        """Return what is known about a request of this peer through a proxy."""
        raw = [(name.lower().encode(), value.encode()) for name, value in headers]
        return TrustedProxies(table).forwarded(peer, False, raw, PROXY)

    def test_scheme(self) -> None:
        """The proxy's own headers are read, but the client is that of the PROXY header."""
        for headers in ((PROTO,), (PROTO, XFF)):
            found = self.read({PROXY: headers}, CLIENT, (PROTO, "https"), (XFF, f"127.0.0.1, {CLIENT}"), (HOST, "evil"))
            self.assertEqual(found, Forwarded(None, True))

    def test_an_unknown_proxy(self) -> None:
        """The headers are ignored if neither the proxy nor its client is trusted."""
        self.assertEqual(self.read({"192.0.2.1": [PROTO]}, CLIENT, (PROTO, "https")), Forwarded())

    def test_a_chain(self) -> None:
        """The client in the PROXY header may be a trusted proxy."""
        headers = (PROTO, "https, http"), (XFF, f"127.0.0.1, {CLIENT}")
        table = {PROXY: [PROTO], "192.0.2.7": [XFF, PROTO]}
        self.assertEqual(self.read(table, "192.0.2.7", *headers), Forwarded((CLIENT, 0), True))
        self.assertEqual(self.read({"192.0.2.7": [XFF]}, "192.0.2.7", *headers), Forwarded((CLIENT, 0)))


class ForwardedTests(SynchronousTestCase):
    """The header Forwarded (RFC 7239)."""

    def read(self, *values: str, table: Mapping[str, Sequence[str]] = {PROXY: [FORWARDED]}) -> Forwarded:
        """Return what the header says."""
        return forwarded(table, *((FORWARDED, value) for value in values))

    def test_examples_of_the_standard(self) -> None:
        """The examples in RFC 7239 are understood."""
        for value, address in (
            ('for="_gazonk"', ("_gazonk", 0)),
            ('For="[2001:db8:cafe::17]:4711"', ("2001:db8:cafe::17", 4711)),
            ("for=192.0.2.60;proto=http;by=203.0.113.43", ("192.0.2.60", 0)),
            ("for=192.0.2.43, for=198.51.100.17", ("198.51.100.17", 0)),
            ('for=192.0.2.43,for="[2001:db8:cafe::17]",for=unknown', (UNKNOWN, 0)),
            ("for=_hidden, for=_SEVKISEK", ("_SEVKISEK", 0)),
            ('for="192.0.2.43:47011"', ("192.0.2.43", 47011)),
        ):
            self.assertEqual(self.read(value).client, address)

    def test_all_parameters(self) -> None:
        """The client, the scheme and the host are read, in any order and case."""
        found = self.read(f'host="bot.example.net:8443";PROTO=HTTPS ; by=_x; ext="a b";For={CLIENT}')
        self.assertEqual(found, Forwarded((CLIENT, 0), True, b"bot.example.net:8443"))

    def test_a_chain(self) -> None:
        """The element of the outermost trusted proxy counts."""
        table = {PROXY: [FORWARDED], "192.0.2.7": [FORWARDED]}
        values = "for=127.0.0.1;host=evil", f"for={CLIENT};proto=https;host=bot", "for=192.0.2.7;proto=http;host=inner"
        for lines in (values, (", ".join(values),)):
            self.assertEqual(self.read(*lines, table=table), Forwarded((CLIENT, 0), True, b"bot"))
        self.assertEqual(self.read(*values), Forwarded(("192.0.2.7", 0), False, b"inner"))

    def test_invalid_elements(self) -> None:
        """Nothing in an invalid element is read, and the client is unknown."""
        for element in (
            "",
            CLIENT,
            f"for={CLIENT};",
            f"for={CLIENT};for=127.0.0.1",
            f"for={CLIENT};proto=https;proto=http",
            f"proto=https;for={CLIENT};host",
            'proto=https;for="192.0.2.1',
            'proto=https;for="127.0.0.1, x"',
            "proto=https;for=[2001:db8::1]",
            "proto = https;for=192.0.2.1",
        ):
            self.assertEqual(self.read(element), Forwarded(client=(UNKNOWN, 0)), element)

    def test_an_open_quote(self) -> None:
        """A quote that a client opens doesn't hide the element that the proxy appends."""
        for sent in ('for="', 'for="127.0.0.1', 'x="\\', "for=127.0.0.1;"):
            self.assertEqual(self.read(f"{sent}, for={CLIENT};proto=https"), Forwarded((CLIENT, 0), True))

    def test_without_a_client(self) -> None:
        """An element may say less; the proxy is the client then."""
        self.assertEqual(self.read("for=127.0.0.1, proto=https"), Forwarded(None, True))

    @given(st.text(st.characters(max_codepoint=255), max_size=60))
    def test_any_text(self, sent: str) -> None:
        """Whatever precedes the proxy's element, its client is the client."""
        self.assertEqual(self.read(f"{sent},for={CLIENT}").client, (CLIENT, 0))
        found = self.read(sent).client
        if found is not None and found[0] != UNKNOWN and not found[0].startswith("_"):
            ip_address(found[0])


class OtherHeaderTests(SynchronousTestCase):
    """Scheme, host, port and base path."""

    def test_scheme(self) -> None:
        """The scheme that a proxy reports replaces that of the connection."""
        for value, secure in (
            ("https", True),
            ("http", False),
            ("HTTPS", True),
            ("wss", True),
            ("ws", False),
            ("http, https", True),
        ):
            self.assertEqual(forwarded({PROXY: [PROTO]}, (PROTO, value)).secure, secure)
        for value in ("", "ftp", "https, ", "https https"):
            self.assertIsNone(forwarded({PROXY: [PROTO]}, (PROTO, value)).secure)

    def test_host(self) -> None:
        """The host that a proxy reports replaces that of the header Host."""
        for value in ("bot.example.net", "bot:8443", "[2001:db8::1]:1", "evil, bot"):
            host = value.removeprefix("evil, ").encode()
            self.assertEqual(forwarded({PROXY: [HOST]}, (HOST, value)).host, host)
        for value in ("", "a b", "bot/x", "user@bot", "[::1", "bot, ", "b\xf6t"):
            self.assertIsNone(forwarded({PROXY: [HOST]}, (HOST, value)).host)

    def test_port(self) -> None:
        """A port is added to the host, or to the header Host, unless it is the default."""
        table = {PROXY: [PORT, PROTO, HOST]}
        for headers, host in (
            ([(PORT, "8443")], b"inner:8443"),
            ([(PORT, "443"), (PROTO, "https")], b"inner"),
            ([(PORT, "80")], b"inner"),
            ([(PORT, "80"), (PROTO, "https"), (HOST, "bot")], b"bot:80"),
            ([(PORT, "1"), (HOST, "[::1]")], b"[::1]:1"),
            ([(PORT, "1"), (HOST, "[::1]:2")], b"[::1]:1"),
            ([(PORT, "0")], None),
            ([(PORT, "65536")], None),
            ([(PORT, "x")], None),
        ):
            self.assertEqual(forwarded(table, *headers).host, host, headers)

    def test_port_without_host(self) -> None:
        """A port without a host, as in a request of HTTP/1.0, is ignored."""
        proxies = TrustedProxies({PROXY: [PORT]})
        self.assertIsNone(proxies.forwarded(PROXY, False, [(b"x-forwarded-port", b"1")]).host)

    def test_ports_of_several_proxies(self) -> None:
        """The port of an inner proxy isn't added to the host of an outer one."""
        table = {PROXY: [XFF, HOST, PORT], "192.0.2.7": [XFF, HOST]}
        headers = (XFF, f"{CLIENT}, 192.0.2.7"), (HOST, "bot, inner"), (PORT, "8080")
        self.assertEqual(forwarded(table, *headers).host, b"bot")

    def test_base_path(self) -> None:
        """The base path has the parts that each proxy has removed."""
        self.assertEqual(forwarded({PROXY: [PREFIX]}, (PREFIX, "/evil, /bot/")).base_path, "/bot")
        table = {"10.0.0.0/8": [XFF, PREFIX]}
        headers = (XFF, f"{CLIENT}, 10.0.0.2"), (PREFIX, "/evil, /bots, /one")
        self.assertEqual(forwarded(table, *headers).base_path, "/bots/one")
        for value in (
            "",
            "/",
            "//evil.example.net",
            "/a//b",
            "bot",
            "/..",
            "/a/./b",
            "/a%2f",
            "/a b",
            "/\\evil",
            "/a?b",
        ):
            self.assertIsNone(forwarded({PROXY: [PREFIX]}, (PREFIX, value)).base_path, value)


class NodeTests(SynchronousTestCase):
    """Addresses with ports."""

    def test_ports(self) -> None:
        """A port is optional, and may be hidden."""
        for text, node in (
            ("192.0.2.1:80", ("192.0.2.1", 80)),
            ("[2001:DB8::0:1]", ("2001:db8::1", 0)),
            ("2001:db8::1", ("2001:db8::1", 0)),
            ("192.0.2.1:_http", ("192.0.2.1", 0)),
            ("192.0.2.1:65535", ("192.0.2.1", 65535)),
            ("192.0.2.1:65536", ("192.0.2.1", 0)),
            ("_a.b-c:80", ("_a.b-c", 0)),
            ("Unknown:80", (UNKNOWN, 0)),
            ("_" + "x" * 64, (UNKNOWN, 0)),
            ("192.0.2.1:", (UNKNOWN, 0)),
            ("::1:80:", (UNKNOWN, 0)),
        ):
            self.assertEqual(parse_node(text.encode()), node)

    @given(st.ip_addresses(v=6), st.integers(0, 65535))
    def test_ipv6(self, address: object, port: int) -> None:
        """Addresses with and without brackets are the same."""
        shown = parse_node(str(address).encode())[0]
        self.assertEqual(parse_node(f"[{address}]:{port}".encode()), (shown, port))


class TableTests(SynchronousTestCase):
    """The check of the table of proxies."""

    def test_valid(self) -> None:
        """Names of headers may have any case, and a single one needs no list."""
        proxies = TrustedProxies({"10.0.0.0/8": "x-FORWARDED-for", "::1": (XFF, PROTO), UNIX: {FORWARDED}})
        trusted = [host for host in ("10.2.3.4", "::1", UNIX, "11.0.0.1", "::2") if proxies.trusts(host)]
        self.assertEqual(trusted, ["10.2.3.4", "::1", UNIX])
        self.assertTrue(TrustedProxies({PROXY: []}).trusts(PROXY))
        self.assertFalse(TrustedProxies({}).trusts(UNIX))

    def test_invalid(self) -> None:
        """An invalid table raises InvalidValue with what is expected and what is invalid."""
        for table, expected, given_part in (
            ([PROXY], "a dict", None),
            ({"proxy.example.net": [XFF]}, "as keys", "'proxy.example.net'"),
            ({"10.0.0.1/8": [XFF]}, "the network is '10.0.0.0/8'", "'10.0.0.1/8'"),
            ({10: [XFF]}, "as keys", "10"),
            ({PROXY: None}, "lists of headers", f"a NoneType for {PROXY!r}"),
            ({PROXY: ["X-Forwarded"]}, "headers among Forwarded", f"'X-Forwarded' for {PROXY!r}"),
            ({PROXY: [XFF, 1]}, "headers among Forwarded", f"1 for {PROXY!r}"),
            ({PROXY: [XFF, REAL]}, "one header for the client", f"{XFF!r} and {REAL!r} for {PROXY!r}"),
            ({UNIX: [FORWARDED, PROTO]}, "one header for the scheme", f"{FORWARDED!r} and {PROTO!r} for 'unix'"),
        ):
            error = self.assertRaises(InvalidValue, TrustedProxies, table)
            self.assertIn(expected, error.args[0])
            self.assertEqual(error.args[1], given_part)
