"""URL policy of webhooks (SSRF guard): the URLs and IP addresses that may be posted to.

A client must not reach through us what only we can reach: our own machine, its network, a cloud's
metadata.  Allowed are the public Internet over TLS, and loopback outside of production.
"""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote

import idna

MAX_URL_CHARACTERS = 2_000
# Lower ports belong to well-known services other than webhooks.
_LOWEST_FREE_PORT = 1_024
_DEFAULT_PORTS = {"https": 443, "http": 80}

_HOST = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?"
_URL = re.compile(
    rf"(https?)://({_HOST}|\[[0-9A-Fa-f:.]{{2,45}}\])(?::([0-9]{{1,5}}))?"
    r"([/?][A-Za-z0-9._~!$&'()*+,;=:@%/?|\[\]-]*)?"
)
_PATH_CHARACTERS = "/?._~!$&'()*+,;=:@%|[]-"
# Blanks, line ends and invisible characters that come with a pasted URL.
_AROUND = "".join(
    map(chr, (*range(9, 14), 32, 0xA0, *range(0x2000, 0x2010), 0x2060, 0x3000, 0xFEFF))
)
# Scheme and host, and the rest.
_ORIGIN = re.compile(r"((?:[A-Za-z]+://)?[^/?#]*)(.*)", re.DOTALL)

# Refused although Python takes them for global: Azure's host agent, protocol assignments, 6to4.
# https://www.iana.org/assignments/iana-ipv4-special-registry/
_REFUSED_V4 = [
    ipaddress.IPv4Network(network)
    for network in ("168.63.129.16/32", "192.0.0.0/24", "192.88.99.0/24")
]
# All addresses in use; those that embed an IPv4 address are outside of it, or refused below.
_GLOBAL_V6 = ipaddress.IPv6Network("2000::/3")
# https://www.iana.org/assignments/iana-ipv6-special-registry/
_REFUSED_V6 = [
    ipaddress.IPv6Network(network)
    for network in (
        "2001::/23",  # Teredo among them
        "2001:db8::/32",
        "2002::/16",  # 6to4
        "3fff::/20",
    )
]


class TargetRefused(ValueError):
    """A URL is not allowed; the message tells the client why."""


@dataclass(frozen=True, slots=True)
class Target:
    """The parts of a URL; `path` includes the query."""

    scheme: str
    host: str
    port: int
    path: str


def normalise_url(url: str) -> str:
    """Return a URL without what pasting adds around it, with scheme and host in lower case.

    >>> normalise_url(" HTTPS://Example.com/Hook ")
    'https://example.com/Hook'
    """
    origin, rest = _ORIGIN.fullmatch(url.strip(_AROUND)).groups()  # type: ignore[union-attr]
    return origin.lower() + rest


def read_target(url: str, *, production: bool) -> Target:
    """Parse a URL and check all but its addresses.  Raises TargetRefused.

    >>> read_target("https://example.com/hook?from=us", production=True)
    Target(scheme='https', host='example.com', port=443, path='/hook?from=us')
    """
    url = normalise_url(url)
    parts = _URL.fullmatch(url) if len(url) <= MAX_URL_CHARACTERS else None
    if parts is None:
        raise TargetRefused(_explain(url))
    scheme, host, path = parts[1], parts[2].strip("[]"), parts[4] or "/"
    if scheme != "https" and production:
        raise TargetRefused("Not https: write https:// in place of http://.")
    port = int(parts[3] or _DEFAULT_PORTS[scheme])
    if port != _DEFAULT_PORTS[scheme] and not _LOWEST_FREE_PORT <= port <= 65_535:
        raise TargetRefused(
            f"Its port is neither {_DEFAULT_PORTS[scheme]} nor {_LOWEST_FREE_PORT} or higher."
        )
    return Target(scheme, host, port, path if path.startswith("/") else f"/{path}")


def _explain(url: str) -> str:
    """Say why a URL cannot be parsed, and what to write instead."""
    if len(url) > MAX_URL_CHARACTERS:
        return f"Longer than {MAX_URL_CHARACTERS} characters."
    scheme, separator, rest = url.partition("://")
    if not separator or not scheme.isalpha():
        return "Not a whole URL: write it like https://example.com/hook."
    if scheme not in _DEFAULT_PORTS:
        return "Not https: write a URL like https://example.com/hook."
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    after_host = rest[len(authority) :]
    host = authority.partition(":")[0]
    if "@" in authority:
        return "It holds a user or password: leave out what is before the '@'."
    if "#" in rest:
        return "It holds a fragment: leave out the '#' and what follows."
    if not host.isascii():
        return _explain_host(host)
    if host.endswith("."):
        return f"Its host ends with a dot: write it as {host.rstrip('.')}."
    if not after_host.isascii() or " " in after_host:
        encoded = quote(after_host, safe=_PATH_CHARACTERS)
        return f"Its path holds characters that must be encoded: write it as {encoded}."
    return (
        "Not a URL like https://example.com/hook in ASCII, without user and fragment, of at "
        f"most {MAX_URL_CHARACTERS} characters."
    )


def _explain_host(host: str) -> str:
    """Say how a host in another script is written in ASCII (RFC 5891)."""
    try:
        ascii_host = idna.encode(host, uts46=True).decode().rstrip(".")
    except (idna.IDNAError, UnicodeError):
        return "Its host is not a name on the Internet: write it like example.com."
    return f"Its host is not in ASCII: write it as {ascii_host}."


def require_public_addresses(target: Target, addresses: Iterable[str], *, production: bool) -> None:
    """Raise TargetRefused unless every address of a target's name is allowed."""
    for address in addresses:
        if not production and is_loopback(address):
            continue
        if target.scheme != "https":
            raise TargetRefused("Not https, which only loopback addresses may omit.")
        if not is_global(address):
            raise TargetRefused("Its name resolves to an address outside the public Internet.")


def is_global(address: str) -> bool:
    """Return True for a unicast address on the public Internet.

    >>> [is_global(address) for address in ("8.8.8.8", "::ffff:8.8.8.8", "2606:4700::1111")]
    [True, False, True]
    """
    parsed = ipaddress.ip_address(address)
    if isinstance(parsed, ipaddress.IPv4Address):
        refused = parsed.is_multicast or any(parsed in network for network in _REFUSED_V4)
        return parsed.is_global and not refused
    return parsed in _GLOBAL_V6 and not any(parsed in network for network in _REFUSED_V6)


def is_loopback(address: str) -> bool:
    """Return True for a loopback address, unless it embeds IPv4 in IPv6.

    >>> [is_loopback(address) for address in ("127.0.0.1", "::1", "::ffff:127.0.0.1")]
    [True, True, False]
    """
    parsed = ipaddress.ip_address(address)
    mapped = isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None
    return parsed.is_loopback and not mapped
