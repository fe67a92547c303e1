"""Pull policy by image reference: what may move is pulled every time."""


def pull_policy(image: str) -> str:
    """Return "Always" for the tag latest, said or implied, else "IfNotPresent".

    A digest without a tag implies no tag: it names one content for ever.
    """
    name, _, digest = image.partition("@")
    tag = name.rpartition("/")[2].partition(":")[2]
    implied_latest = bool(name) and not tag and not digest
    return "Always" if tag == "latest" or implied_latest else "IfNotPresent"
