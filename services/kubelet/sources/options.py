"""What a kubelet is told about the sources of its static Pods."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from navarch.services.kubelet.core.eviction_thresholds import ThresholdError, duration_s
from navarch.services.kubelet.sources.files import CHECK_S, Files
from navarch.services.kubelet.sources.http import Url
from navarch.services.kubelet.sources.source import Source


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """path: a directory or a file; url: "" for none; headers: of requests to it."""

    path: Path | None = None
    path_check_s: float = CHECK_S
    url: str = ""
    headers: Sequence[tuple[str, str]] = ()
    url_check_s: float = CHECK_S

    def sources(self, node: str) -> list[Source]:
        """The sources that there are."""
        found: list[Source] = []
        if self.path is not None:
            found.append(Files(self.path, node, self.path_check_s))
        if self.url:
            found.append(Url(self.url, node, self.headers, self.url_check_s))
        return found


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options, as kubelet calls them."""
    add = parser.add_argument
    add("--pod-manifest-path", type=Path, metavar="PATH", help="of static Pods")
    add("--file-check-frequency", type=_interval_s, default=CHECK_S, metavar="DURATION")
    add("--manifest-url", type=_url, default="", metavar="URL", help="of static Pods")
    add("--manifest-url-header", type=headers, action="extend", default=[], metavar="NAME:VALUE,...")
    add("--http-check-frequency", type=_interval_s, default=CHECK_S, metavar="DURATION")


def source_options(options: argparse.Namespace) -> SourceOptions:
    """What the command line says."""
    return SourceOptions(
        options.pod_manifest_path,
        options.file_check_frequency,
        options.manifest_url,
        options.manifest_url_header,
        options.http_check_frequency,
    )


def headers(text: str) -> list[tuple[str, str]]:
    """Read "name:value,name:value". Raises ArgumentTypeError."""
    found = []
    for entry in filter(None, text.split(",")):
        name, colon, value = entry.partition(":")
        if not colon or not name.strip():
            raise argparse.ArgumentTypeError(f'malformed header "{entry}", expected NAME:VALUE')
        found.append((name.strip(), value.strip()))
    return found


def _url(text: str) -> str:
    if text and not text.startswith(("http://", "https://")):
        raise argparse.ArgumentTypeError(f'"{text}" is no URL of http or https')
    return text


def _interval_s(text: str) -> float:
    try:
        seconds = duration_s(text)
    except ThresholdError as failure:
        raise argparse.ArgumentTypeError(str(failure)) from None
    if seconds <= 0:
        raise argparse.ArgumentTypeError(f"{text}: must be more than 0")
    return seconds
