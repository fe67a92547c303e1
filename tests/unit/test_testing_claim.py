"""What one test has claimed, no other gets."""

import subprocess
import sys
from contextlib import closing

import pytest

from navarch.testing.claim import Claim

# Nobody has a route to it, and no test anything else of it.
KIND = "198.51"


def test_each_number_is_had_once_and_is_free_again() -> None:
    first, second = Claim(KIND, range(2)), Claim(KIND, range(2))
    assert {first.number, second.number} == {0, 1}
    with pytest.raises(LookupError, match="all of 2 networks 198.51.N are taken"):
        Claim(KIND, range(2))
    with closing(Claim("203.0", range(2))):
        first.close()
    with closing(Claim(KIND, range(2))) as again:
        assert again.number == first.number
    second.close()


def test_a_process_that_is_killed_holds_nothing() -> None:
    program = f"from navarch.testing.claim import Claim; c = Claim({KIND!r}, [7]); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(LookupError):
            Claim(KIND, [7])
        other.kill()
        other.wait()
    Claim(KIND, [7]).close()


def test_what_routes_lead_to_is_taken() -> None:
    program = f"""
import subprocess
from navarch.testing.claim import Claim
for command in ("link set lo up", "route add {KIND}.7.0/24 dev lo", "route add {KIND}.90.1 dev lo"):
    subprocess.run(["ip", *command.split()], check=True)
print(Claim("{KIND}", [7, 9, 90]))
"""
    command = ["unshare", "--net", sys.executable, "-c", program]
    assert subprocess.run(command, check=True, text=True, capture_output=True).stdout == f"{KIND}.9\n"
