"""The keys of service account tokens, where OpenID Connect looks for them, so that others can check our tokens."""

from typing import Any

import orjson
from aiohttp import web

from navarch.services.apiserver.auth.tokens import Tokens
from navarch.services.apiserver.doors.rest.call import Call, Handler

CONFIGURATION = "/.well-known/openid-configuration"
KEYS = "/openid/v1/jwks"
_CACHE = "public, max-age=3600"


def paths(tokens: Tokens, host: str, listen: str) -> dict[str, Handler]:
    """The handlers by path. host: at which others reach this server; listen: "host:port" of the door."""
    port = listen.rpartition(":")[2]
    keys = list(tokens.keys.by_id.values())
    about = {
        "issuer": tokens.config.issuer,
        "jwks_uri": f"https://{f'[{host}]' if ':' in host else host}:{port}{KEYS}",
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": sorted({key.algorithm for key in keys}),
    }
    return {
        CONFIGURATION: _document(about, "application/json"),
        KEYS: _document({"keys": [key.jwk() for key in keys]}, "application/jwk-set+json"),
    }


def _document(value: Any, media: str) -> Handler:
    data = orjson.dumps(value)

    async def answer(call: Call) -> web.StreamResponse:
        return web.Response(body=data, headers={"Content-Type": media, "Cache-Control": _CACHE})

    return answer
