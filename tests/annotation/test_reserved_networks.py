"""What the embedded server may call: one address of this machine, and else only what it may by default."""

import re
from ipaddress import IPv4Address, IPv4Network, collapse_addresses, ip_network

import pytest

from annotation.reserved_networks import WAKE_HOST, one_exception
from tests.conftest import LABEL_STUDIO_VENV


def refused() -> list[str]:
    variables = one_exception()
    assert variables["LABEL_STUDIO_USE_DEFAULT_BANNED_SUBNETS"] == "false"
    return variables["LABEL_STUDIO_USER_ADDITIONAL_BANNED_SUBNETS"].split(",")


def test_of_the_loopback_network_one_address_is_left_out():
    loopback = [each for each in map(ip_network, refused()) if isinstance(each, IPv4Network)]
    loopback = [each for each in loopback if each.subnet_of(IPv4Network("127.0.0.0/8"))]
    whole = collapse_addresses([*loopback, IPv4Network(WAKE_HOST)])
    assert list(whole) == [IPv4Network("127.0.0.0/8")]
    assert not any(IPv4Address(WAKE_HOST) in each for each in loopback)
    assert any(IPv4Address("127.0.0.1") in each for each in loopback)


def test_everything_else_that_the_installed_label_studio_refuses_stays_refused():
    sources = list(LABEL_STUDIO_VENV.glob("lib/python3*/site-packages/label_studio/core/utils/io.py"))
    if not sources:
        pytest.skip(f"Label Studio is not installed in {LABEL_STUDIO_VENV}")
    listed = re.search(r"default_banned_subnets = \[(.*?)\]", sources[0].read_text(), re.DOTALL)
    assert listed is not None
    defaults = re.findall(r"'([^']+/\d+)'", listed[1])
    assert len(defaults) > 20 and "127.0.0.0/8" in defaults
    assert set(defaults) - {"127.0.0.0/8"} <= set(refused())
