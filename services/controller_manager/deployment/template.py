"""Pod templates: equality and hash.

Both go by the JSON form, in which an explicit zero and an absent field are the same, as they are to Kubernetes;
the messages themselves would differ by which client wrote them.
"""

from functools import lru_cache

import orjson

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.codec import to_json

HASH_LABEL = "pod-template-hash"

# Without vowels and their look-alikes, so that no hash spells a word.
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_FNV32_OFFSET = 0x811C9DC5
_FNV32_PRIME = 0x01000193


def canonical(template: corev1.PodTemplateSpec) -> bytes:
    """Bytes that are equal for templates that mean the same, the hash label left out."""
    return _canonical(template.SerializeToString(deterministic=True))


# A Deployment's templates are compared at every step of its rollouts, and hardly ever change.
@lru_cache(maxsize=1024)
def _canonical(serialized: bytes) -> bytes:
    content = to_json(corev1.PodTemplateSpec.FromString(serialized))
    content.get("metadata", {}).get("labels", {}).pop(HASH_LABEL, None)
    return orjson.dumps(content, option=orjson.OPT_SORT_KEYS)


def same(a: corev1.PodTemplateSpec, b: corev1.PodTemplateSpec) -> bool:
    """Whether two templates make the same Pods, the hash label aside."""
    return canonical(a) == canonical(b)


def template_hash(template: corev1.PodTemplateSpec, collision_count: int) -> str:
    """Suffix of the ReplicaSet's name: FNV-1a (32 bit) of the template, made speakable.

    collision_count: raised when another template had the same hash; changes the result.
    """
    content = canonical(template)
    if collision_count:
        content += collision_count.to_bytes(8, "little")
    value = _FNV32_OFFSET
    for byte in content:
        value = ((value ^ byte) * _FNV32_PRIME) & 0xFFFFFFFF
    return "".join(_ALPHABET[ord(digit) % len(_ALPHABET)] for digit in str(value))
