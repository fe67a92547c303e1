"""Runs nft: a whole input is taken or none of it."""

import asyncio
import subprocess

from navarch.services.proxy.structure import Settings

TIMEOUT_S = 60.0


class NftError(Exception):
    """nft refused, or did not answer."""


class NftRefused(NftError):
    """nft, or the kernel, says that this cannot be."""


async def apply(text: str) -> None:
    """Run one transaction. Raises NftError, and then nothing of it has happened."""
    await _nft("-f", "-", input=text)


async def is_refused(text: str) -> bool:
    """Whether nft would refuse one transaction. Changes nothing. Raises NftError if there is no saying."""
    try:
        await _nft("--check", "-f", "-", input=text)
    except NftRefused:
        return True
    return False


async def remove(settings: Settings) -> None:
    """Take the table away. Idempotent. Raises NftError."""
    table = f"inet {settings.table}"
    await apply(f"add table {table}\ndelete table {table}\n")


async def list_json(*what: str) -> bytes:
    """What `nft -j list` says. Raises NftError."""
    return await _nft("-j", "list", *what)


async def _nft(*words: str, input: str | None = None) -> bytes:
    try:
        process = await asyncio.create_subprocess_exec(
            "nft",
            *words,
            stdin=subprocess.DEVNULL if input is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    except OSError as failure:
        raise NftError(f"cannot run nft: {failure}") from failure
    try:
        out, err = await asyncio.wait_for(process.communicate(None if input is None else input.encode()), TIMEOUT_S)
    except TimeoutError as failure:
        raise NftError(f"nft did not answer within {TIMEOUT_S:.0f} s") from failure
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        # The input it repeats may be megabytes.
        message = err[:1000].decode(errors="replace").strip()
        raise NftRefused(message or f"nft ended with {process.returncode}")
    return out
