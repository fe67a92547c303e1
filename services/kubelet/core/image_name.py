"""Whether an image's name is one at all. Grammar: the reference format of the distribution project."""

import re

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::\d+)?"
_DIGEST = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}"
_NAME = re.compile(rf"(?:{_HOST}/)?{_COMPONENT}(?:/{_COMPONENT})*(?::\w[\w.-]{{0,127}})?(?:@{_DIGEST})?")


def fault(name: str) -> str:
    """What is wrong with a name, in the words of Kubernetes; "" for nothing."""
    if _NAME.fullmatch(name):
        return ""
    return f'Failed to apply default image tag "{name}": couldn\'t parse image name "{name}": invalid reference format'
