"""Texts on the query parameters of connections."""

_STREAMS = """
  stdin: Pass standard input on.
  stdout: Pass standard output on.
  stderr: Pass standard error on.
  tty: Use a terminal.
  container: Which container; the only one by default.
"""

TEXT = f"""
core.v1.PodExecOptions: How to run a command in a container.{_STREAMS}
  command: The command and its arguments; no shell is used.
core.v1.PodAttachOptions: How to attach to a container.{_STREAMS}
core.v1.PodPortForwardOptions: Which ports to forward.
  ports: The ports of the Pod.
core.v1.PodProxyOptions: What to ask a Pod for.
  path: The rest of the URL's path.
core.v1.ServiceProxyOptions: What to ask a Service for.
  path: The rest of the URL's path.
core.v1.NodeProxyOptions: What to ask a node for.
  path: The rest of the URL's path.
core.v1.PodLogOptions: Which part of a log.
  container: Which container; the only one by default.
  follow: Stay, and send what comes.
  previous: The log of the container before it was started again.
  sinceSeconds: Only what is newer than so many seconds.
  sinceTime: Only what is newer than this moment.
  timestamps: Put the time before each line.
  tailLines: Only the last lines.
  limitBytes: At most so many bytes.
  insecureSkipTLSVerifyBackend: Do not check the kubelet's certificate.
  stream: Which stream: All, Stdout or Stderr.
"""
