"""Where nobody can have us post to."""

import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.deadline import resolve
from app.webhooks.outgoing.url_policy import (
    TargetRefused,
    is_global,
    is_loopback,
    read_target,
    require_public_addresses,
)

ON_THE_INTERNET = [
    "1.1.1.1",
    "8.8.8.8",
    "100.63.255.255",
    "100.128.0.0",
    "172.15.255.255",
    "172.32.0.1",
    "192.0.1.1",
    "198.17.255.255",
    "223.255.255.255",
    "2001:200::1",
    "2606:4700:4700::1111",
    "2a00:1450:4001:81b::200e",
]
ELSEWHERE = {
    "this host": ["0.0.0.0", "0.1.2.3", "::"],
    "private": ["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fc00::1", "fd12::1"],
    "carrier-grade NAT": ["100.64.0.1", "100.100.100.200", "100.127.255.255"],
    "loopback": ["127.0.0.1", "127.1.2.3", "::1"],
    "link-local": ["169.254.169.254", "169.254.0.1", "fe80::1", "fe80::1%1"],
    "site-local": ["fec0::1"],
    "protocol assignments": ["192.0.0.1", "192.0.0.192", "2001::1", "2001:1::1", "2001:20::1"],
    "documentation": ["192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "3fff::1"],
    "benchmarks": ["198.18.0.1", "198.19.255.255"],
    "multicast": ["224.0.0.1", "239.255.255.255", "ff02::1", "ff0e::1"],
    "reserved": ["240.0.0.1", "255.255.255.255", "4000::1", "e000::1"],
    "IPv4 in IPv6": ["::ffff:127.0.0.1", "::ffff:8.8.8.8", "::ffff:0:8.8.8.8", "::8.8.8.8"],
    "NAT64": ["64:ff9b::7f00:1", "64:ff9b::808:808", "64:ff9b:1::7f00:1"],
    "6to4": ["2002:7f00:1::", "2002:808:808::1", "192.88.99.1"],
    "Teredo": ["2001:0:7f00:1::1"],
    "discard": ["100::1"],
    "a cloud's own": ["168.63.129.16", "fd00:ec2::254"],
}
HTTPS = read_target("https://example.com/hook", production=True)


@pytest.mark.parametrize("address", ON_THE_INTERNET)
def test_the_internet_may_be_talked_to(address):
    assert is_global(address)
    require_public_addresses(HTTPS, [address], production=True)


@pytest.mark.parametrize(
    "address", [each for addresses in ELSEWHERE.values() for each in addresses]
)
def test_nothing_else_may(address):
    assert not is_global(address)
    with pytest.raises(TargetRefused, match="outside the public Internet"):
        require_public_addresses(HTTPS, [address], production=True)


@given(st.ip_addresses(v=4))
def test_no_address_is_taken_that_python_takes_for_special(address):
    ours = is_global(str(address))

    assert not ours or (address.is_global and not address.is_multicast)


@given(st.ip_addresses(v=4))
def test_no_address_comes_in_through_ipv6(address):
    packed = int(address)
    ways = [
        ipaddress.IPv6Address(packed),
        ipaddress.IPv6Address((0xFFFF << 32) | packed),
        ipaddress.IPv6Address((0x64FF9B << 96) | packed),
        ipaddress.IPv6Address((0x2002 << 112) | packed << 80),
        ipaddress.IPv6Address((0x20010000 << 96) | (packed ^ 0xFFFFFFFF)),
    ]

    assert not any(is_global(str(each)) for each in ways)


def test_one_bad_address_among_good_ones_is_enough():
    with pytest.raises(TargetRefused):
        require_public_addresses(HTTPS, ["8.8.8.8", "10.0.0.1"], production=True)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.9.10", "::1"])
def test_loopback_may_be_talked_to_outside_of_production_alone(address):
    http = read_target("http://localhost:8000/", production=False)

    assert is_loopback(address)
    require_public_addresses(http, [address], production=False)
    require_public_addresses(HTTPS, [address], production=False)
    with pytest.raises(TargetRefused):
        require_public_addresses(HTTPS, [address], production=True)


@pytest.mark.parametrize("address", ["8.8.8.8", "10.0.0.1", "::ffff:127.0.0.1", "0.0.0.0"])
def test_without_tls_there_is_nothing_but_loopback(address):
    http = read_target("http://localhost:8000/", production=False)

    with pytest.raises(TargetRefused):
        require_public_addresses(http, [address], production=False)


@pytest.mark.parametrize(
    "host",
    ["127.1", "2130706433", "0x7f000001", "0x7f.1", "017700000001", "0177.0.0.1", "localhost", "0"],
)
def test_loopback_in_disguise_is_seen_as_what_it_resolves_to(host):
    target = read_target(f"https://{host}/", production=True)
    try:
        found = resolve(target.host, target.port, within_s=5)
    except OSError:
        return  # this system's resolver knows no such spelling

    addresses = [str(address[0]) for *_, address in found]
    with pytest.raises(TargetRefused):
        require_public_addresses(target, addresses, production=True)


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://example.com", ("https", "example.com", 443, "/")),
        ("HTTPS://Example.COM/Hook", ("https", "example.com", 443, "/Hook")),
        (" https://example.com/hook", ("https", "example.com", 443, "/hook")),
        ("\thttps://example.com/\r\n", ("https", "example.com", 443, "/")),
        ("\u200bhttps://example.com/hook\u00a0\ufeff", ("https", "example.com", 443, "/hook")),
        ("https://Example.COM/Hook", ("https", "example.com", 443, "/Hook")),
        (
            "https://example.com:8443/a/b?c=d&e=%20",
            ("https", "example.com", 8443, "/a/b?c=d&e=%20"),
        ),
        ("https://example.com?token=x", ("https", "example.com", 443, "/?token=x")),
        ("https://[2606:4700::1111]:8443/", ("https", "2606:4700::1111", 8443, "/")),
        ("https://xn--bcher-kva.example/", ("https", "xn--bcher-kva.example", 443, "/")),
    ],
)
def test_a_url_is_taken_apart(url, target):
    read = read_target(url, production=True)

    assert (read.scheme, read.host, read.port, read.path) == target


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "//example.com/",
        "ftp://example.com/",
        "file:///etc/passwd",
        "gopher://example.com/",
        "https://",
        "https:///hook",
        "https://user@example.com/",
        "https://user:password@example.com/",
        "https://example.com@127.0.0.1/",
        "https://example.com/#fragment",
        "https://example.com\\@127.0.0.1/",
        "https://exa mple.com/",
        "https://example.com/a b",
        "https://example.com/\r\nHost: x",
        " ",
        "https://exa\tmple.com/",
        "https://example.com/\n/hook",
        "ht\u200btps://example.com/",
        "https://bücher.example/",
        "https://example.com/ü",
        "https://example.com/\0",
        "https://example.com./",
        "https://-example.com/",
        "https://example.com:/",
        "https://example.com:0/",
        "https://example.com:22/",
        "https://example.com:25/",
        "https://example.com:80/",
        "https://example.com:444/",
        "https://example.com:65536/",
        "https://example.com:99999/",
        "https://example.com:-1/",
        "https://example.com:8443x/",
        "https://[::1/",
        "https://[fe80::1%25eth0]/",
        "https://" + "a" * 254 + "/",
        "https://example.com/" + "a" * 2_000,
    ],
)
def test_what_is_not_plainly_a_url_is_refused(url):
    for production in (True, False):
        with pytest.raises(TargetRefused):
            read_target(url, production=production)


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("https://example.com./hook", "write it as example.com."),
        ("https://Example.com.:8443/hook", "write it as example.com."),
        ("https://münchen.example/hook", "write it as xn--mnchen-3ya.example."),
        ("HTTPS://MÜNCHEN.example./hook", "write it as xn--mnchen-3ya.example."),
        ("https://straße.example/", "write it as xn--strae-oqa.example."),
        ("https://例え.jp/", "write it as xn--r8jz45g.jp."),
        ("https://例え。jp/", "write it as xn--r8jz45g.jp."),
        ("https://☃☃.-.example/", "write it like example.com"),
        ("https://example.com/grüße?a b", "write it as /gr%C3%BC%C3%9Fe?a%20b."),
        ("https://user:password@example.com/", "before the '@'"),
        ("https://example.com/hook#top", "leave out the '#'"),
        ("example.com/hook", "write it like https://example.com/hook"),
        ("ftp://example.com/", "write a URL like https://example.com/hook"),
        ("http://example.com/", "write https:// in place of http://"),
        ("https://example.com/" + "a" * 2_000, "Longer than 2000 characters"),
    ],
)
def test_the_reason_says_what_to_write(url, advice):
    with pytest.raises(TargetRefused) as refused:
        read_target(url, production=True)

    assert advice in str(refused.value)


@pytest.mark.parametrize("url", ["http://example.com/", "http://127.0.0.1:8000/"])
def test_production_knows_nothing_but_https(url):
    with pytest.raises(TargetRefused, match="Not https"):
        read_target(url, production=True)


def test_every_literal_address_reads_as_itself():
    for address in ("8.8.8.8", "127.0.0.1", "::1", "2606:4700::1111"):
        shown = f"[{address}]" if ":" in address else address
        target = read_target(f"https://{shown}/", production=True)
        (found, *_) = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)

        assert found[4][0] == address
