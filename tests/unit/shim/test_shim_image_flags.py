"""The command line's options about images."""

from pathlib import Path

import pytest

from navarch.runtime_shim.containerd.images import flags
from navarch.runtime_shim.containerd.images.options import PullOptions
from navarch.runtime_shim.main import parser

LISTEN = "--listen=/cri.sock"


def test_nothing_said_is_the_default() -> None:
    assert flags.pull_options(parser().parse_args([LISTEN])) == PullOptions()


def test_all_of_them() -> None:
    said = [
        "--registry-config-dir=/a:/b", "--max-concurrent-downloads=5", "--image-pull-tries=1", "--max-image-layers=9",
        "--max-image-bytes=1000", "--image-pull-progress-timeout=1.5", "--registry-dial-timeout=2",
        "--pinned-image=pause", "--pinned-image=example.com/a:1",
    ]  # fmt: skip
    assert flags.pull_options(parser().parse_args([LISTEN, *said])) == PullOptions(
        config_dirs=(Path("/a"), Path("/b")),
        downloads_at_once=5,
        tries=1,
        layers=9,
        image_bytes=1000,
        progress_timeout_s=1.5,
        dial_timeout_s=2,
        pinned=frozenset(("docker.io/library/pause:latest", "example.com/a:1")),
    )


@pytest.mark.parametrize(
    "option",
    [
        "--max-concurrent-downloads=0", "--image-pull-tries=-1", "--max-image-layers=x", "--max-image-bytes=1.5",
        "--image-pull-progress-timeout=0", "--registry-dial-timeout=nan", "--registry-dial-timeout=inf",
        "--registry-dial-timeout=soon", "--pinned-image=UPPER",
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args([LISTEN, option])
    assert option.partition("=")[0] in capsys.readouterr().err
