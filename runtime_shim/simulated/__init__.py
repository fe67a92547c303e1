"""Hollow Pods behind the CRI contract: no process runs, but every answer is what a runtime would give.

For tests, for the scale of thousands of Pods on one host, and for systems without containers. What a container does
is told by annotations of its Pod, prefix ``simulated.navarch.dev/``, each of which may be narrowed to one container
by ``.NAME`` at its end. `behavior` reads them, and refuses what it does not know; docs/runtime_shim.md lists them.

`pods` is the state and its legal changes, without waiting. `sandboxes`, `containers`, `statistics` and `node` are
CRI's calls on it, `images` and `streaming` the rest; `backend` puts them together.
"""
