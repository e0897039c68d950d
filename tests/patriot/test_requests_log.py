import pytest

from agent.patriot.requests_log import caller_address, networks

TRUSTED = networks(["10.0.0.1", "192.168.0.0/24", "::1", "not an address"])


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("203.0.113.5", [b"1.2.3.4"], "203.0.113.5"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", [b"203.0.113.5"], "203.0.113.5"),
        # What stands left of the last untrusted address was written by the caller.
        ("10.0.0.1", [b"6.6.6.6, 203.0.113.5, 192.168.0.7"], "203.0.113.5"),
        ("10.0.0.1", [b"6.6.6.6", b"203.0.113.5"], "203.0.113.5"),
        ("10.0.0.1", [b"192.168.0.7"], "192.168.0.7"),
        ("10.0.0.1", [b"key=Other status=200"], "10.0.0.1"),
        ("10.0.0.1", [b"203.0.113.5, \xff"], "10.0.0.1"),
        ("::1", [b"2001:db8::7"], "2001:db8::7"),
        (None, [b"203.0.113.5"], "-"),
    ],
)
def test_the_callers_address(peer: str | None, forwarded: list[bytes], expected: str) -> None:
    scope = {
        "client": (peer, 5) if peer else None,
        "headers": [(b"x-forwarded-for", value) for value in forwarded],
    }
    assert caller_address(scope, TRUSTED) == expected
