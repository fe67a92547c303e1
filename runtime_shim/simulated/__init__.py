"""Hollow Pods behind the CRI contract: no process runs, but every answer is what a runtime would give.

For tests, for the scale of thousands of Pods on one host, and for systems without containers. What a
container does is told by annotations of its Pod, prefix ``simulated.navarch.dev/``, each of which may be
narrowed to one container by ``.NAME`` at its end:

    start-delay-seconds   how long StartContainer takes            (0)
    exit-after-seconds    when the process ends by itself          (never)
    exit-code             with which code                          (0)
    ignore-sigterm        "true": only SIGKILL ends it             (false)
    log                   the line it writes when it starts
    pull-error            what the registry answers instead of the image
    pull-delay-seconds, image-size-bytes, memory-bytes, cpu-millicores
"""
