"""Resource versions as clients write them."""

from navarch.services.api.errors import BadRequest

# The store counts in 63 bits.
MAX_REVISION = 2**63 - 1


def parse_resource_version(text: str) -> int | None:
    """The revision, or None for "". Raises BadRequest."""
    if not text:
        return None
    if not text.isascii() or not text.isdigit():
        raise BadRequest(f'Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax')
    if len(text) > 19 or int(text) > MAX_REVISION:
        raise BadRequest(f'Invalid value: "{text}": strconv.ParseUint: parsing "{text}": value out of range')
    return int(text)
