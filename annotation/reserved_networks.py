"""The addresses that the embedded Label Studio must not call, with one exception for `dailies collect --webhook`.

Every member of a project can make the server call an address, so its SSRF protection refuses all private and reserved
networks, loopback among them. `WAKE_HOST` is an address of the loopback network at which nothing but our own listener
(`annotation/webhook.py`) is bound: what is bound to 127.0.0.1 stays out of every member's reach, what is bound to all
addresses of this machine does not. Linux has the whole of 127.0.0.0/8 without being asked.
"""

from ipaddress import IPv4Network

WAKE_HOST = "127.0.0.83"
REFUSED_BY_DEFAULT = (  # Label Studio 1.23.2, without loopback; a test compares
    "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24 192.88.99.0/24 "
    "192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 233.252.0.0/24 240.0.0.0/4 "
    "255.255.255.255/32 ::/128 ::1/128 ::ffff:0:0/96 ::ffff:0:0:0/96 64:ff9b::/96 64:ff9b:1::/48 100::/64 "
    "2001:0000::/32 2001:20::/28 2001:db8::/32 2002::/16 fc00::/7 fe80::/10 ff00::/8"
)


def one_exception() -> dict[str, str]:
    """Variables for a Label Studio that may call `WAKE_HOST`, and otherwise only what it may call by default."""
    loopback = IPv4Network("127.0.0.0/8").address_exclude(IPv4Network(WAKE_HOST))
    refused = [*REFUSED_BY_DEFAULT.split(), *(str(network) for network in sorted(loopback))]
    return {
        "LABEL_STUDIO_USE_DEFAULT_BANNED_SUBNETS": "false",
        "LABEL_STUDIO_USER_ADDITIONAL_BANNED_SUBNETS": ",".join(refused),
    }
