"""Generates the protobuf and gRPC stubs of ``protos/`` into ``src/navarch/protos`` at every build.

The contracts import one another relative to ``protos/`` ("k8s/meta/v1.proto"), as clients in other
languages expect; the Python stubs live in a package, so their imports are rewritten to it.
"""

import re
import shutil
import sysconfig
from importlib.metadata import distribution
from importlib.resources import files
from pathlib import Path

from setuptools import Command, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
SOURCE = ROOT / "protos"
TARGET = ROOT / "src" / "navarch" / "protos"
PACKAGE_OF_IMPORT = re.compile(
    r"^from ((?:cri|csi|containerd|etcd|k8s|kubelet|navarch)(?:\.\w+)*) import", re.MULTILINE
)
BARE_IMPORT = re.compile(r"^import ((?:cri|csi|containerd|etcd|k8s|kubelet|navarch)(?:\.\w+)*_pb2)", re.MULTILINE)


def generate() -> None:
    """Write stubs for every .proto below ``protos/``, replacing what is there."""
    from grpc_tools import protoc

    staging = TARGET.with_name("protos.new")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    sources = sorted(SOURCE.rglob("*.proto"))
    common_protos = distribution("googleapis-common-protos").locate_file("")
    arguments = [
        "protoc",
        f"-I{SOURCE}",
        f"-I{files('grpc_tools') / '_proto'}",
        f"-I{common_protos}",
        f"--plugin=protoc-gen-mypy_grpc={mypy_grpc_plugin()}",
        f"--python_out={staging}",
        f"--pyi_out={staging}",
        f"--grpc_python_out={staging}",
        f"--mypy_grpc_out=quiet:{staging}",
        *map(str, sources),
    ]
    if protoc.main(arguments) != 0:
        raise SystemExit("protoc refused the contracts")
    services = {source.relative_to(SOURCE).with_suffix("") for source in sources if "\nservice " in source.read_text()}
    for stub in [*staging.rglob("*_pb2*.py"), *staging.rglob("*_pb2*.pyi")]:
        relative = stub.relative_to(staging)
        if "_pb2_grpc" in stub.name and relative.with_name(stub.name.split("_pb2_grpc")[0]) not in services:
            stub.unlink()
            continue
        text = PACKAGE_OF_IMPORT.sub(r"from navarch.protos.\1 import", stub.read_text())
        stub.write_text(BARE_IMPORT.sub(r"import navarch.protos.\1", text))
    for folder in [staging, *(path for path in staging.rglob("*") if path.is_dir())]:
        (folder / "__init__.py").write_text("")
    shutil.rmtree(TARGET, ignore_errors=True)
    staging.rename(TARGET)


def mypy_grpc_plugin() -> Path:
    """The plug-in's script, beside this interpreter or in an isolated build environment."""
    for script in distribution("mypy-protobuf").files or []:
        if script.name == "protoc-gen-mypy_grpc":
            return Path(str(script.locate())).resolve()
    return Path(sysconfig.get_path("scripts")) / "protoc-gen-mypy_grpc"


class BuildWithStubs(build_py):
    def run(self) -> None:
        generate()
        super().run()


class BuildProtos(Command):
    description = "generate the stubs of protos/ only"
    user_options: list[tuple[str, str, str]] = []

    def initialize_options(self) -> None: ...

    def finalize_options(self) -> None: ...

    def run(self) -> None:
        generate()


setup(cmdclass={"build_py": BuildWithStubs, "build_protos": BuildProtos})
