"""Resource versions as clients write them."""

from navarch.services.api.errors import BadRequest


def parse_resource_version(text: str) -> int | None:
    """The revision, or None for "". Raises BadRequest."""
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 19:
        raise BadRequest(f'Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax')
    return int(text)
