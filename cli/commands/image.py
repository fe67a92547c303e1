"""``navarch image``: the images on this host."""

from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, TypeVar

import grpc
import typer

from navarch.cli import options
from navarch.cli.cluster.host import default_data_dir
from navarch.cli.cluster.layout import Layout
from navarch.cli.errors import UsageError
from navarch.cli.output.table import print_rows
from navarch.cli.session import run
from navarch.protos.cri import v1_pb2 as criv1
from navarch.protos.cri import v1_pb2_grpc
from navarch.protos.navarch import images_pb2, images_pb2_grpc
from navarch.services.base.dialing import channel

R = TypeVar("R")

CHUNK_BYTES = 1 << 20
UNITS = ("B", "kB", "MB", "GB", "TB")

image = typer.Typer(help="Load and list the images of this host.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the command with its verbs."""
    app.add_typer(image, name="image")


@image.command()
def load(
    archive: Annotated[Path, typer.Argument(help="An OCI or docker archive (.tar), or - for standard input.")],
    data_dir: options.DataDir = None,
) -> None:
    """Take the images of an archive in."""
    source = Path("/dev/stdin") if str(archive) == "-" else archive
    if not source.exists():
        raise UsageError(f"{source} does not exist")

    async def work() -> list[str]:
        async with channel(_socket(data_dir), None) as connection:
            stub = images_pb2_grpc.ImagesStub(connection)
            return list((await stub.Import(_pieces(source), wait_for_ready=True)).images)

    for name in _refusals(work):
        print(f"Loaded {name}")


@image.command("ls")
def list_images(data_dir: options.DataDir = None) -> None:
    """List the images of this host."""

    async def work() -> list[list[str]]:
        async with channel(_socket(data_dir), None) as connection:
            stub = v1_pb2_grpc.ImageServiceStub(connection)
            listed = await stub.ListImages(criv1.ListImagesRequest(), timeout=10, wait_for_ready=True)
            return [row for one in listed.images for row in _rows(one)]

    print_rows(["IMAGE", "TAG", "IMAGE ID", "SIZE"], sorted(_refusals(work)))


def _refusals(work: Callable[[], Coroutine[Any, Any, R]]) -> R:
    try:
        return run(work())
    except grpc.aio.AioRpcError as error:
        raise UsageError(error.details() or error.code().name) from error


def _socket(data_dir: Path | None) -> str:
    directory = (data_dir or default_data_dir()).resolve()
    layout = Layout.load(directory)
    if layout is None:
        raise UsageError(f"no cluster in {directory}. Start one with: navarch up")
    return layout.cri_endpoint.replace("unix://", "unix:")


async def _pieces(source: Path) -> AsyncIterator[images_pb2.ImportRequest]:
    with source.open("rb") as file:
        while data := file.read(CHUNK_BYTES):
            yield images_pb2.ImportRequest(data=data)


def _rows(one: criv1.Image) -> list[list[str]]:
    identity = one.id.removeprefix("sha256:")[:13]
    names = list(one.repo_tags) or ["<none>:<none>"]
    return [[*name.rsplit(":", 1), identity, human_size(one.size)] for name in names]


def human_size(size: float) -> str:
    """Bytes as people write them: 4.2MB."""
    for unit in UNITS[:-1]:
        if size < 1000:
            return f"{size:.3g}{unit}"
        size /= 1000
    return f"{size:.3g}{UNITS[-1]}"
