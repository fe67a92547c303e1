"""Where a server listens, as its command line says it."""


def split_address(text: str) -> tuple[list[str], int]:
    """Hosts and port of "host[,host...]:port"; an IPv6 address may stand in brackets, no host is "".

    Raises ValueError that shows the text.
    """
    hosts, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{text!r} is no address to listen on; accepted is HOST[,HOST...]:PORT")
    return [host.strip("[]") for host in hosts.split(",")], int(port)
