"""Container Network Interface: runs the plugins of a network configuration (CNI specification 1.1 and before).

ADD runs the chain in order, each plugin given the result of the one before; DEL runs it backwards, each given
the final result of ADD. The configuration, capabilities and result of ADD are kept with the sandbox, so DEL asks
the same plugins the same way even after the configuration files changed. libcni keeps the same three under
/var/lib/cni/results for its next call to find; nobody else reads them there, so the sandbox's record is the one
place here. GC tells plugins which attachments there are, and so frees what a lost record can't name any more;
STATUS asks whether they could attach a Pod now. The loopback interface is not a plugin's affair here: it comes up
with the namespace.
"""

import asyncio
import ipaddress
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
STATUS, STATUS_TIMEOUT_S = "STATUS", 5.0
# In their order. Results of those before look otherwise.
VERSIONS = ("0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
DEFAULT_VERSION = "0.3.1"
BANDWIDTH_RATES = {"ingressRate", "egressRate"}
DEL_WITH_RESULT_SINCE, GC_AND_STATUS_SINCE = "0.4.0", "1.1.0"


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """A plugin chain."""

    name: str
    version: str
    plugins: tuple[dict[str, Any], ...]
    disable_gc: bool = False

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> "NetworkConfig":
        """From a .conflist or a lone plugin's .conf. Raises InvalidArgument."""
        plugins = document.get("plugins", [document])
        name = document.get("name")
        if not name or not plugins or not all(isinstance(p, dict) and p.get("type") for p in plugins):
            raise errors.InvalidArgument("a network configuration needs a name and plugins with a type")
        if any("/" in plugin["type"] for plugin in plugins):
            raise errors.InvalidArgument("a plugin's type is the name of a program, not a path")
        return cls(str(name), _version(document), tuple(plugins), document.get("disableGC") is True)

    def document(self) -> dict[str, Any]:
        """The JSON that `read` takes."""
        optional = {"disableGC": True} if self.disable_gc else {}
        return {"name": self.name, "cniVersion": self.version, "plugins": list(self.plugins), **optional}

    def since(self, version: str) -> bool:
        """Whether the configuration is of this version of the specification or a later one."""
        return VERSIONS.index(self.version) >= VERSIONS.index(version)

    def stdin(
        self, plugin: Mapping[str, Any], capabilities: Mapping[str, object], previous: Mapping[str, Any] | None
    ) -> bytes:
        """What one plugin is given: its part, the network's name and version, what it can do with this Pod."""
        document = self.of_plugin(plugin)
        offered = plugin.get("capabilities") or {}
        if runtime := {name: value for name, value in capabilities.items() if offered.get(name) and value}:
            document["runtimeConfig"] = runtime
        if previous is not None:
            document["prevResult"] = previous
        return orjson.dumps(document)

    def of_plugin(self, plugin: Mapping[str, Any]) -> dict[str, Any]:
        """A plugin's part as it is given to the plugin."""
        return {**plugin, "name": self.name, "cniVersion": self.version}


@dataclass(frozen=True, slots=True)
class Attachment:
    """Who is being attached. netns: path; "" when it is gone, which DEL must cope with."""

    sandbox_id: str
    netns: str
    pod_namespace: str
    pod_name: str
    pod_uid: str

    def environment(self) -> dict[str, str]:
        """The specification's variables about it, and the arguments by which plugins know Kubernetes Pods."""
        arguments = {
            "IgnoreUnknown": "1",
            "K8S_POD_NAMESPACE": self.pod_namespace,
            "K8S_POD_NAME": self.pod_name,
            "K8S_POD_INFRA_CONTAINER_ID": self.sandbox_id,
            "K8S_POD_UID": self.pod_uid,
        }
        return {
            "CNI_CONTAINERID": self.sandbox_id,
            "CNI_NETNS": self.netns,
            "CNI_IFNAME": INTERFACE,
            "CNI_ARGS": ";".join(f"{key}={value}" for key, value in arguments.items()),
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
    """The Pod's addresses in the order of the result, without prefix lengths. Raises RuntimeFailure for garbage."""
    interfaces = result.get("interfaces") or []

    def of_pod(entry: Mapping[str, Any]) -> bool:
        index = entry.get("interface")
        return not isinstance(index, int) or index >= len(interfaces) or bool(interfaces[index].get("sandbox"))

    entries: Iterable[Mapping[str, Any]] = result.get("ips") or ()
    try:
        found = [str(entry["address"]).partition("/")[0] for entry in entries if of_pod(entry)]
        return tuple(str(ipaddress.ip_address(address)) for address in found)
    except (AttributeError, KeyError, TypeError, ValueError) as failure:
        raise errors.RuntimeFailure(f"CNI: the result's addresses make no sense: {failure!r}") from None


class Executor:
    """Runs plugins as processes."""

    def __init__(self, bin_dirs: Sequence[Path], timeout_s: float = PLUGIN_TIMEOUT_S) -> None:
        self._bin_dirs = tuple(bin_dirs)
        self._timeout_s = timeout_s
        self._slots = asyncio.Semaphore(PARALLEL_PLUGINS)

    def check_installed(self, config: NetworkConfig) -> None:
        """Raises RuntimeFailure for a plugin that is not. Better known before the first one has begun."""
        for plugin in config.plugins:
            self._find(plugin["type"])

    async def add(
        self, config: NetworkConfig, attachment: Attachment, capabilities: Mapping[str, object]
    ) -> dict[str, Any]:
        """Attach; returns the last plugin's result. Raises RuntimeFailure; the caller then runs `delete`."""
        result: dict[str, Any] | None = None
        for plugin in _with_work(config, capabilities):
            stdin = config.stdin(plugin, capabilities, result)
            answer = await self._run(plugin, "ADD", stdin, attachment.environment())
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
        previous = result if config.since(DEL_WITH_RESULT_SINCE) else None
        for plugin in reversed(_with_work(config, capabilities)):
            try:
                stdin = config.stdin(plugin, capabilities, previous)
                await self._run(plugin, "DEL", stdin, attachment.environment())
            except errors.ShimError as failure:
                failures.append(failure)
        if failures:
            raise failures[0]

    async def collect(self, config: NetworkConfig, valid: Iterable[str]) -> None:
        """GC: plugins free what they hold for others than these sandboxes. Nothing before version 1.1.0."""
        if config.disable_gc or not config.since(GC_AND_STATUS_SINCE):
            return
        attachments = [{"containerID": sandbox_id, "ifname": INTERFACE} for sandbox_id in valid]
        for plugin in config.plugins:
            stdin = orjson.dumps({**config.of_plugin(plugin), "cni.dev/valid-attachments": attachments})
            await self._run(plugin, "GC", stdin, {})

    async def check_status(self, config: NetworkConfig) -> None:
        """STATUS: raises RuntimeFailure in the words of the plugin that can't attach. Nothing before version 1.1.0."""
        if config.since(GC_AND_STATUS_SINCE):
            for plugin in config.plugins:
                await self._run(plugin, STATUS, orjson.dumps(config.of_plugin(plugin)), {})

    async def _run(
        self, plugin: Mapping[str, Any], command: str, stdin: bytes, about: Mapping[str, str]
    ) -> dict[str, Any]:
        name = plugin["type"]
        program = self._find(name)
        timeout_s = min(self._timeout_s, STATUS_TIMEOUT_S) if command == STATUS else self._timeout_s
        environment = {
            "CNI_COMMAND": command,
            "CNI_PATH": os.pathsep.join(map(str, self._bin_dirs)),
            "PATH": os.environ.get("PATH", os.defpath),
            **about,
        }
        try:
            if command == STATUS:
                # The node is not down because its plugins are busy.
                outcome = await programs.run(program, environment, stdin, timeout_s)
            else:
                async with self._slots:
                    outcome = await programs.run(program, environment, stdin, timeout_s)
        except TimeoutError:
            limit = f"no answer in {timeout_s:g} s"
            raise errors.DeadlineExceeded(f"CNI plugin {name} {command}: {limit}") from None
        except OSError as failure:
            raise errors.RuntimeFailure(f"CNI plugin {name}: {failure}") from None
        if outcome.code != 0:
            raise errors.RuntimeFailure(f"CNI plugin {name} {command}: {_reason(outcome)}")
        try:
            answer = orjson.loads(outcome.stdout) if outcome.stdout.strip() else {}
        except orjson.JSONDecodeError as failure:
            raise errors.RuntimeFailure(f"CNI plugin {name} {command}: its answer is not JSON: {failure}") from None
        if not isinstance(answer, dict):
            raise errors.RuntimeFailure(f"CNI plugin {name} {command}: its answer is not a JSON object")
        return answer

    def _find(self, name: str) -> Path:
        for directory in self._bin_dirs:
            if os.access(directory / name, os.X_OK):
                return directory / name
        searched = ", ".join(map(str, self._bin_dirs))
        raise errors.RuntimeFailure(f"CNI plugin {name} is not installed: looked in {searched}")


def _version(document: Mapping[str, Any]) -> str:
    """The latest that we know of those that the configuration is valid for. Raises InvalidArgument."""
    offered = document.get("cniVersions") or [document.get("cniVersion") or DEFAULT_VERSION]
    known = [version for version in VERSIONS if version in offered]
    if not known:
        raise errors.InvalidArgument(
            f"unknown CNI version {', '.join(map(str, offered))}: known are {', '.join(VERSIONS)}"
        )
    return known[-1]


def _with_work(config: NetworkConfig, capabilities: Mapping[str, object]) -> list[dict[str, Any]]:
    """The plugins to run: all but those that have nothing to do for this Pod, which would only cost a process."""

    def is_idle(plugin: Mapping[str, Any]) -> bool:
        match plugin["type"]:
            case "portmap":
                return not capabilities.get("portMappings")
            case "bandwidth":
                # Limits may also be written into its configuration, for all Pods.
                return not capabilities.get("bandwidth") and not plugin.keys() & BANDWIDTH_RATES
        return False

    return [plugin for plugin in config.plugins if not is_idle(plugin)]


def _reason(outcome: programs.Outcome) -> str:
    """Why a plugin failed, in its own words: the specification's error object, or what it wrote."""
    try:
        report = orjson.loads(outcome.stdout)
        return ": ".join(filter(None, (str(report["msg"]), str(report.get("details") or ""))))
    except (orjson.JSONDecodeError, KeyError, TypeError):
        words = (outcome.stderr or outcome.stdout).decode(errors="replace").strip()
        return words or f"exit code {outcome.code}"
