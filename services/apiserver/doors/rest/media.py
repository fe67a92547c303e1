"""Media types: what a client sends, and which form of the answer it accepts.

An Accept header is a list in order of preference (with q values, where a client gives them). Its first entry that
can be served wins; parameters ask for a shape: `as=Table` and `as=PartialObjectMetadata` of group meta.k8s.io.
"""

from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

from navarch.services.api.errors import BadRequest, NotAcceptable, UnsupportedMediaType

JSON = "application/json"
YAML = "application/yaml"
PROTOBUF = "application/vnd.kubernetes.protobuf"
ACCEPTED = (JSON, YAML, PROTOBUF)
# Names under which these went before, or go elsewhere.
_ALIASES = {"text/yaml": YAML, "application/x-yaml": YAML, "text/json": JSON}


class Shape(Enum):
    """What of an object is shown."""

    OBJECT = ""
    TABLE = "Table"
    METADATA = "PartialObjectMetadata"


@dataclass(frozen=True, slots=True)
class Format:
    """One way to write objects. pretty: for people."""

    media: str
    shape: Shape = Shape.OBJECT
    pretty: bool = False

    @property
    def key(self) -> str:
        """Tells formats apart where encodings are kept."""
        return f"{self.media};{self.shape.value}"


# The shapes that have no protobuf message.
_JSON_ONLY = frozenset({Shape.TABLE})
_SHAPES = {"": Shape.OBJECT, "Table": Shape.TABLE, "PartialObjectMetadata": Shape.METADATA}
_SHAPES["PartialObjectMetadataList"] = Shape.METADATA


@lru_cache(maxsize=512)
def accepted(accept: str, medias: tuple[str, ...] = ACCEPTED) -> Format:
    """The format that an Accept header prefers among those served. Raises NotAcceptable."""
    entries = [_entry(part) for part in (accept or "*/*").split(",")]
    for media, parameters, _ in sorted(entries, key=lambda entry: -entry[2]):
        found = _match(media, medias)
        shape = _SHAPES.get(parameters.get("as", ""))
        if found is None or shape is None:
            continue
        if shape is not Shape.OBJECT and not _is_served(parameters):
            continue
        if found == PROTOBUF and shape in _JSON_ONLY:
            continue
        return Format(found, shape)
    raise NotAcceptable(f"only the following media types are accepted: {', '.join(medias)}")


def _entry(text: str) -> tuple[str, dict[str, str], float]:
    media, *rest = (part.strip() for part in text.split(";"))
    parameters = {name.strip(): value.strip().strip('"') for name, _, value in (part.partition("=") for part in rest)}
    try:
        quality = float(parameters.pop("q", "1"))
    except ValueError:
        quality = 0.0
    return media.lower(), parameters, quality


def _match(media: str, medias: tuple[str, ...]) -> str | None:
    media = _ALIASES.get(media, media)
    if media in ("*/*", "application/*"):
        return medias[0]
    return media if media in medias else None


def _is_served(parameters: dict[str, str]) -> bool:
    return parameters.get("g") == "meta.k8s.io" and parameters.get("v") in ("v1", "v1beta1")


@lru_cache(maxsize=512)
def content_type(header: str, medias: tuple[str, ...] = ACCEPTED) -> str:
    """The media type of a body; JSON where nothing is said. Raises UnsupportedMediaType."""
    if not header:
        return medias[0]
    media = header.partition(";")[0].strip().lower()
    media = _ALIASES.get(media, media)
    if media not in medias:
        raise UnsupportedMediaType(
            "the body of the request was in an unknown format - accepted media types include: " + ", ".join(medias)
        )
    return media


def include_object(value: str) -> str:
    """What the rows of a table carry: "Metadata" (the default), "Object" or "None". Raises BadRequest."""
    if value not in ("", "Metadata", "Object", "None"):
        raise BadRequest(f'unrecognized includeObject value: "{value}"')
    return value or "Metadata"
