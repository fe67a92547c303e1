"""The grammars of names."""

import pytest

from navarch.services.api.validation import names


@pytest.mark.parametrize(
    ("rule", "good", "bad"),
    [
        (names.dns_label, ["a", "a-1", "0", "a" * 63], ["", "A", "-a", "a-", "a.b", "a_b", "a" * 64, "ä", "a\n"]),
        (names.dns_subdomain, ["a", "a.b", "a-1.b2", "a" * 253], ["", ".a", "a.", "a..b", "A.b", "a" * 254]),
        (names.dns_1035_label, ["a", "a-1"], ["", "1a", "a-", "A", "a" * 64]),
        (
            names.qualified_name,
            ["a", "A_b.c", "example.com/A"],
            ["", "/a", "a/", "a/b/c", "Example.com/a", "-a", "a" * 64],
        ),
        (names.label_value, ["", "a", "A_b.c-1"], ["-a", "a-", "a/b", "a b", "a" * 64]),
        (names.config_key, ["a", ".a", "_A-1", "..."[:1] + "x"], ["", "a/b", "a b", ".", "..", "..a", "a" * 254]),
        (names.env_name, ["A", "a.b-c", "1 x"], ["", "a=b", "ä", "a\tb"]),
        (names.port_name, ["http", "web-1"], ["HTTP", "80", "a--b", "-a", "a" * 16, ""]),
        (names.port_number, [1, 65535], [0, -1, 65536]),
        (names.http_header_name, ["X-Header"], ["", "X Header", "X:"]),
        (names.percent, ["0%", "250%"], ["", "5", "-5%", "5%%", "a%"]),
        (names.ip_address, ["10.0.0.1", "2001:db8::1"], ["", "10.0.0", "010.0.0.1", "10.0.0.1/8"]),
        (names.cidr, ["10.0.0.0/8", "2001:db8::/32"], ["", "10.0.0.0", "10.0.0.0/33"]),
        (names.path_segment, ["system:node", "A"], [".", "..", "a/b", "a%b"]),
    ],
)
def test_names(rule, good, bad):
    assert [value for value in good if rule(value)] == []
    assert [value for value in bad if not rule(value)] == []


def test_a_prefix_may_end_in_a_dash():
    assert names.dns_label("web-", True) == []
    assert names.dns_label("-", True) != []


def test_wording():
    assert names.dns_label("A") == [
        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "
        "with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
        "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
    ]
    assert names.qualified_name("/a") == ["prefix part must be non-empty"]
    assert names.dns_label("a" * 64) == ["must be no more than 63 bytes"]
    assert names.port_number(0) == ["must be between 1 and 65535, inclusive"]
