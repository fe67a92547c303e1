"""The command line's options about images. Their defaults are those of `PullOptions`."""

import argparse
from pathlib import Path

from navarch.runtime_shim import reference
from navarch.runtime_shim.containerd.images.options import PullOptions
from navarch.runtime_shim.errors import InvalidArgument

DEFAULTS = PullOptions()


def add(parser: argparse.ArgumentParser) -> None:
    """Declare them."""
    group = parser.add_argument_group("images")
    group.add_argument(
        "--registry-config-dir",
        type=folders,
        default=DEFAULTS.config_dirs,
        metavar="DIR:DIR",
        help="where HOST/hosts.toml is looked for; the first folder that knows a registry decides "
        f"(default: {':'.join(map(str, DEFAULTS.config_dirs))})",
    )
    for name, default, text in (
        ("--max-concurrent-downloads", DEFAULTS.downloads_at_once, "layers fetched at once, for each image"),
        ("--image-pull-tries", DEFAULTS.tries, "failures without progress in between before a pull is given up"),
        ("--max-image-layers", DEFAULTS.layers, "an image of more layers is refused"),
        ("--max-image-bytes", DEFAULTS.image_bytes, "an image of more is refused, as it comes from the registry"),
    ):
        group.add_argument(name, type=at_least_one, default=default, metavar="N", help=f"{text} (default: %(default)s)")
    for name, seconds, text in (
        ("--image-pull-progress-timeout", DEFAULTS.progress_timeout_s, "a registry that is silent for so long is gone"),
        ("--registry-dial-timeout", DEFAULTS.dial_timeout_s, "a host that takes longer to be reached is passed over"),
    ):
        group.add_argument(
            name, type=positive, default=seconds, metavar="SECONDS", help=f"{text} (default: %(default)g)"
        )
    group.add_argument(
        "--pinned-image",
        type=full_name,
        action="append",
        default=[],
        metavar="NAME",
        help="an image that is never to be collected; may be said several times",
    )


def pull_options(options: argparse.Namespace) -> PullOptions:
    """What was said on the command line."""
    return PullOptions(
        config_dirs=options.registry_config_dir,
        downloads_at_once=options.max_concurrent_downloads,
        tries=options.image_pull_tries,
        progress_timeout_s=options.image_pull_progress_timeout,
        dial_timeout_s=options.registry_dial_timeout,
        layers=options.max_image_layers,
        image_bytes=options.max_image_bytes,
        pinned=frozenset(options.pinned_image),
    )


def folders(text: str) -> tuple[Path, ...]:
    """The folders of a list with colons, as in PATH; none for ""."""
    return tuple(Path(entry) for entry in text.split(":") if entry)


def at_least_one(text: str) -> int:
    """A whole number above zero."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return int(text)


def positive(text: str) -> float:
    """Seconds, more than none and not forever."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no time above 0")
    return seconds


def full_name(text: str) -> str:
    """An image's name, filled in as containerd has it."""
    try:
        return str(reference.parse(text))
    except InvalidArgument as failure:
        raise argparse.ArgumentTypeError(str(failure)) from None
