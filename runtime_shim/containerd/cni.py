"""Container Network Interface: runs the plugins of a network configuration (CNI specification 1.0).

ADD runs the chain in order, each plugin given the result of the one before; DEL runs it backwards, each given
the final result of ADD. The configuration and result that ADD used are kept with the sandbox, so DEL asks the
same plugins the same way even after the configuration files changed. The loopback interface is not a plugin's
affair here: it comes up with the namespace.
"""

import asyncio
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from navarch.runtime_shim import errors
from navarch.runtime_shim.containerd import programs

INTERFACE = "eth0"
SUFFIXES = (".conflist", ".conf", ".json")
PLUGIN_TIMEOUT_S = 30.0
# A storm of Pods must not become a storm of processes.
PARALLEL_PLUGINS = 8
DEFAULT_VERSION = "0.3.1"


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """A plugin chain."""

    name: str
    version: str
    plugins: tuple[dict[str, Any], ...]

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> "NetworkConfig":
        """From a .conflist or a lone plugin's .conf. Raises InvalidArgument."""
        plugins = document.get("plugins", [document])
        name = document.get("name")
        if not name or not plugins or not all(isinstance(p, dict) and p.get("type") for p in plugins):
            raise errors.InvalidArgument("a network configuration needs a name and plugins with a type")
        if any("/" in plugin["type"] for plugin in plugins):
            raise errors.InvalidArgument("a plugin's type is the name of a program, not a path")
        return cls(str(name), str(document.get("cniVersion") or DEFAULT_VERSION), tuple(plugins))

    def document(self) -> dict[str, Any]:
        """The JSON that `read` takes."""
        return {"name": self.name, "cniVersion": self.version, "plugins": list(self.plugins)}

    def stdin(
        self, plugin: Mapping[str, Any], capabilities: Mapping[str, object], previous: Mapping[str, Any] | None
    ) -> bytes:
        """What one plugin is given: its part, the network's name and version, what it can do with this Pod."""
        document = {**plugin, "name": self.name, "cniVersion": self.version}
        offered = plugin.get("capabilities") or {}
        if runtime := {name: value for name, value in capabilities.items() if offered.get(name) and value}:
            document["runtimeConfig"] = runtime
        if previous is not None:
            document["prevResult"] = previous
        return orjson.dumps(document)


@dataclass(frozen=True, slots=True)
class Attachment:
    """Who is being attached. netns: path; "" when it is gone, which DEL must cope with."""

    sandbox_id: str
    netns: str
    pod_namespace: str
    pod_name: str
    pod_uid: str

    def environment(self, command: str, bin_dirs: Sequence[Path]) -> dict[str, str]:
        """The variables of the specification, and the arguments by which plugins know Kubernetes Pods."""
        arguments = {
            "IgnoreUnknown": "1",
            "K8S_POD_NAMESPACE": self.pod_namespace,
            "K8S_POD_NAME": self.pod_name,
            "K8S_POD_INFRA_CONTAINER_ID": self.sandbox_id,
            "K8S_POD_UID": self.pod_uid,
        }
        return {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": self.sandbox_id,
            "CNI_NETNS": self.netns,
            "CNI_IFNAME": INTERFACE,
            "CNI_ARGS": ";".join(f"{key}={value}" for key, value in arguments.items()),
            "CNI_PATH": os.pathsep.join(map(str, bin_dirs)),
            "PATH": os.environ.get("PATH", os.defpath),
        }


def load_config(directory: Path) -> NetworkConfig | None:
    """The first configuration of the folder by name, or None. Raises InvalidArgument naming a broken file."""
    try:
        names = sorted(entry.name for entry in os.scandir(directory) if entry.name.endswith(SUFFIXES))
    except FileNotFoundError:
        return None
    for name in names:
        try:
            return NetworkConfig.read(orjson.loads((directory / name).read_bytes()))
        except (orjson.JSONDecodeError, errors.InvalidArgument, AttributeError) as failure:
            raise errors.InvalidArgument(f"{directory / name}: {failure}") from None
    return None


def addresses(result: Mapping[str, Any]) -> tuple[str, ...]:
    """The Pod's addresses in the order of the result, without prefix lengths."""
    interfaces = result.get("interfaces") or []

    def of_pod(entry: Mapping[str, Any]) -> bool:
        index = entry.get("interface")
        return not isinstance(index, int) or index >= len(interfaces) or bool(interfaces[index].get("sandbox"))

    entries: Iterable[Mapping[str, Any]] = result.get("ips") or ()
    return tuple(str(entry["address"]).partition("/")[0] for entry in entries if of_pod(entry))


class Executor:
    """Runs plugins as processes."""

    def __init__(self, bin_dirs: Sequence[Path], timeout_s: float = PLUGIN_TIMEOUT_S) -> None:
        self._bin_dirs = tuple(bin_dirs)
        self._timeout_s = timeout_s
        self._slots = asyncio.Semaphore(PARALLEL_PLUGINS)

    async def add(
        self, config: NetworkConfig, attachment: Attachment, capabilities: Mapping[str, object]
    ) -> dict[str, Any]:
        """Attach; returns the last plugin's result. Raises RuntimeFailure; the caller then runs `delete`."""
        result: dict[str, Any] | None = None
        for plugin in _with_work(config, capabilities):
            answer = await self._run(plugin, "ADD", attachment, config.stdin(plugin, capabilities, result))
            result = answer or result or {}
        return result or {}

    async def delete(
        self,
        config: NetworkConfig,
        attachment: Attachment,
        capabilities: Mapping[str, object],
        result: Mapping[str, Any] | None,
    ) -> None:
        """Detach. Every plugin of `add` is asked, also after a failure; then the first failure is raised."""
        failures: list[errors.ShimError] = []
        for plugin in reversed(_with_work(config, capabilities)):
            try:
                await self._run(plugin, "DEL", attachment, config.stdin(plugin, capabilities, result))
            except errors.ShimError as failure:
                failures.append(failure)
        if failures:
            raise failures[0]

    async def _run(
        self, plugin: Mapping[str, Any], command: str, attachment: Attachment, stdin: bytes
    ) -> dict[str, Any]:
        name = plugin["type"]
        program = self._find(name)
        environment = attachment.environment(command, self._bin_dirs)
        try:
            async with self._slots:
                outcome = await programs.run(program, environment, stdin, self._timeout_s)
        except TimeoutError:
            limit = f"no answer in {self._timeout_s:g} s"
            raise errors.DeadlineExceeded(f"CNI plugin {name} {command}: {limit}") from None
        except OSError as failure:
            raise errors.RuntimeFailure(f"CNI plugin {name}: {failure}") from None
        if outcome.code != 0:
            raise errors.RuntimeFailure(f"CNI plugin {name} {command}: {_reason(outcome)}")
        try:
            answer: dict[str, Any] = orjson.loads(outcome.stdout) if outcome.stdout.strip() else {}
        except orjson.JSONDecodeError as failure:
            raise errors.RuntimeFailure(f"CNI plugin {name} {command}: its answer is not JSON: {failure}") from None
        return answer

    def _find(self, name: str) -> Path:
        for directory in self._bin_dirs:
            if os.access(directory / name, os.X_OK):
                return directory / name
        searched = ", ".join(map(str, self._bin_dirs))
        raise errors.RuntimeFailure(f"CNI plugin {name} is not installed: looked in {searched}")


def _with_work(config: NetworkConfig, capabilities: Mapping[str, object]) -> list[dict[str, Any]]:
    """The plugins to run: all but portmap for a Pod without host ports, which would only cost a process."""
    ports = capabilities.get("portMappings")
    return [plugin for plugin in config.plugins if ports or plugin["type"] != "portmap"]


def _reason(outcome: programs.Outcome) -> str:
    """Why a plugin failed, in its own words: the specification's error object, or what it wrote."""
    try:
        report = orjson.loads(outcome.stdout)
        return ": ".join(filter(None, (str(report["msg"]), str(report.get("details") or ""))))
    except (orjson.JSONDecodeError, KeyError, TypeError):
        words = (outcome.stderr or outcome.stdout).decode(errors="replace").strip()
        return words or f"exit code {outcome.code}"
