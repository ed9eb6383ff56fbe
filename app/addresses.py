"""Network addresses of callers."""

import ipaddress

_IPV6_PREFIX = 64


def group_address(address: str | None) -> str:
    """Return what an address is counted by: IPv6 by /64, which one customer has.

    >>> group_address("2001:db8:1:2:3::4"), group_address("::ffff:192.0.2.1")
    ('2001:db8:1:2::', '192.0.2.1')
    """
    try:
        parsed = ipaddress.ip_address(address or "")
    except ValueError:
        return address or "none"
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((int(parsed), _IPV6_PREFIX), strict=False).network_address)
