"""What annotations ask a simulated container to do."""

from collections.abc import Mapping
from dataclasses import dataclass

from navarch.runtime_shim.errors import InvalidArgument

PREFIX = "simulated.navarch.dev/"
# Of an image, and of a container's memory, when nothing is said.
DEFAULT_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Behavior:
    """See the package for the meaning of each field."""

    start_delay_s: float = 0.0
    exit_after_s: float | None = None
    exit_code: int = 0
    ignore_sigterm: bool = False
    log: str = ""
    pull_error: str = ""
    pull_delay_s: float = 0.0
    image_size_bytes: int = DEFAULT_BYTES
    memory_bytes: int = DEFAULT_BYTES
    cpu_millicores: int = 1

    @classmethod
    def of(cls, annotations: Mapping[str, str], container: str) -> "Behavior":
        """Read the annotations of a Pod. Raises InvalidArgument for a number that is none."""

        def text(name: str, default: str) -> str:
            return annotations.get(f"{PREFIX}{name}.{container}", annotations.get(PREFIX + name, default))

        def number(name: str, default: float) -> float:
            found = text(name, str(default))
            try:
                return float(found)
            except ValueError as error:
                raise InvalidArgument(f"annotation {PREFIX}{name}: {found!r} is not a number") from error

        exit_after_s = number("exit-after-seconds", -1)
        return cls(
            start_delay_s=number("start-delay-seconds", 0),
            exit_after_s=None if exit_after_s < 0 else exit_after_s,
            exit_code=int(number("exit-code", 0)),
            ignore_sigterm=text("ignore-sigterm", "") == "true",
            log=text("log", f"{container}: simulated, no process runs"),
            pull_error=text("pull-error", ""),
            pull_delay_s=number("pull-delay-seconds", 0),
            image_size_bytes=int(number("image-size-bytes", DEFAULT_BYTES)),
            memory_bytes=int(number("memory-bytes", DEFAULT_BYTES)),
            cpu_millicores=int(number("cpu-millicores", 1)),
        )
