"""Texts on containers."""

_CONTAINER = """
  name: The name, unique in the Pod. Cannot be changed.
  image: The image it is made from, such as registry.example/app:1.2.
  imagePullPolicy: When the image is fetched: Always (the default for :latest), IfNotPresent or Never.
  command: What is run instead of the entry point of the image; $(NAME) is replaced by a variable.
  args: The arguments, instead of those of the image; $(NAME) is replaced by a variable.
  workingDir: The folder it starts in; that of the image by default.
  ports: The ports it listens on; to list them is information only, unless hostPort is used.
  env: Variables of its environment.
  envFrom: ConfigMaps and Secrets whose entries all become variables.
  resources: What it may use and is promised.
  resizePolicy: What a change of resources does to it.
  restartPolicy: When it is started again; Always makes an init container a sidecar.
  restartPolicyRules: What happens at certain exit codes, before restartPolicy is asked.
  volumeMounts: Which volumes show up where.
  volumeDevices: Which volumes show up as block devices.
  livenessProbe: Asks whether it still works; if not it is started again.
  readinessProbe: Asks whether it may get requests.
  startupProbe: Asks whether it has started; until then the other probes wait.
  lifecycle: What happens right after it starts and before it stops.
  terminationMessagePath: The file with its last words; /dev/termination-log by default.
  terminationMessagePolicy: Where last words come from: File (the default) or FallbackToLogsOnError.
  securityContext: User, capabilities and protection; goes before that of the Pod.
  stdin: Keep its standard input open, for attach.
  stdinOnce: Close standard input after the first who attached has left.
  tty: Give it a terminal; needs stdin.
"""

TEXT = f"""
core.v1.Container: One program in a Pod.{_CONTAINER}
core.v1.EphemeralContainer: A container added to a running Pod for debugging; never started again.
  targetContainerName: Whose processes it sees.
core.v1.EphemeralContainerCommon: A container added to a running Pod for debugging.{_CONTAINER}
core.v1.ContainerPort: A port that a container listens on.
  name: A name to refer to it by, unique in the Pod.
  containerPort: The port, from 1 to 65535.
  hostPort: The port of the node that leads to it.
  protocol: TCP (the default), UDP or SCTP.
  hostIP: The address of the node that hostPort is bound to.
core.v1.EnvVar: A variable in the environment of a container.
  name: Its name.
  value: The value; $(NAME) is replaced by a variable defined before it, $$ is a dollar sign.
  valueFrom: Where the value comes from, if it is not given here.
core.v1.EnvVarSource: Where the value of a variable comes from; exactly one.
  fieldRef: A field of the Pod, such as metadata.name or status.podIP.
  resourceFieldRef: A limit or request of a container.
  configMapKeyRef: An entry of a ConfigMap.
  secretKeyRef: An entry of a Secret.
  fileKeyRef: A variable in a file on an emptyDir volume.
core.v1.ConfigMapKeySelector: An entry of a ConfigMap.
  key: The name of the entry.
  optional: Whether it may be missing.
core.v1.SecretKeySelector: An entry of a Secret.
  key: The name of the entry.
  optional: Whether it may be missing.
core.v1.FileKeySelector: A variable in a file.
  volumeName: The volume with the file.
  path: The file, relative to the volume.
  key: The name of the variable.
  optional: Whether it may be missing.
core.v1.ObjectFieldSelector: A field of the Pod.
  apiVersion: The version in which the path is meant; v1 by default.
  fieldPath: The path of the field.
core.v1.ResourceFieldSelector: A limit or request of a container.
  containerName: Which container; needed in volumes.
  resource: Which one, such as limits.memory.
  divisor: The unit in which it is told; 1 by default.
core.v1.EnvFromSource: Entries that all become variables.
  prefix: Put before each name.
  configMapRef: The ConfigMap.
  secretRef: The Secret.
core.v1.ConfigMapEnvSource: A ConfigMap whose entries become variables.
  optional: Whether it may be missing.
core.v1.SecretEnvSource: A Secret whose entries become variables.
  optional: Whether it may be missing.
core.v1.LocalObjectReference: An object of the same namespace.
  name: Its name.
core.v1.ResourceRequirements: What a container may use and is promised.
  limits: The most it may use: cpu is held back, memory beyond it kills.
  requests: What is set aside for it; the limits by default.
  claims: Claims of the Pod that it uses.
core.v1.ResourceClaim: A claim of the Pod that a container uses.
  name: Its name in the Pod.
  request: One request of the claim; all by default.
core.v1.ContainerResizePolicy: What a change of a resource does.
  resourceName: cpu or memory.
  restartPolicy: NotRequired or RestartContainer.
core.v1.ContainerRestartRule: What happens at certain exit codes.
  action: Restart or RestartAllContainers.
  exitCodes: At which codes.
core.v1.ContainerRestartRuleOnExitCodes: Exit codes.
  operator: In or NotIn.
  values: The codes.
core.v1.VolumeMount: Where a volume shows up in a container.
  name: The name of the volume.
  mountPath: The folder in the container; must not contain a colon.
  subPath: The folder of the volume that is mounted; its root by default.
  subPathExpr: The same with $(NAME) replaced by a variable.
  readOnly: Mount it without the right to write.
  recursiveReadOnly: Whether mounts below it are read-only, too: Disabled, IfPossible or Enabled.
  mountPropagation: Whether later mounts pass between host and container: None, HostToContainer or Bidirectional.
core.v1.VolumeDevice: Where a volume shows up as a block device.
  name: The name of the volume.
  devicePath: The path of the device in the container.
core.v1.Probe: A question that the kubelet asks a container again and again.
  initialDelaySeconds: How long to wait after the start.
  periodSeconds: How often to ask; 10 by default.
  timeoutSeconds: How long to wait for the answer; 1 by default.
  successThreshold: How many good answers in a row it takes after a bad one; 1 by default.
  failureThreshold: How many bad answers in a row it takes; 3 by default.
  terminationGracePeriodSeconds: How long it may take to stop when the probe fails; as the Pod says by default.
core.v1.ProbeHandler: How to ask.
  exec: Run a command; exit code 0 is good.
  httpGet: Ask over HTTP; 200 to 399 is good.
  tcpSocket: Open a connection; that it opens is good.
  grpc: Ask the gRPC health service; SERVING is good.
core.v1.ExecAction: A command in the container.
  command: The command and its arguments; no shell is used.
core.v1.HTTPGetAction: A GET request.
  path: The path to ask for.
  port: The port, as number or name.
  host: The host; the address of the Pod by default.
  scheme: HTTP (the default) or HTTPS.
  httpHeaders: More headers.
core.v1.HTTPHeader: A header of a request.
  name: Its name.
  value: Its value.
core.v1.TCPSocketAction: A connection.
  port: The port, as number or name.
  host: The host; the address of the Pod by default.
core.v1.GRPCAction: A question to the gRPC health service.
  port: The port.
  service: The name of the service that is asked about.
core.v1.Lifecycle: What happens at the start and end of a container.
  postStart: Done right after the start; if it fails the container is killed.
  preStop: Done before the container is told to stop; counts towards its grace period.
  stopSignal: The signal that tells it to stop; that of the image by default.
core.v1.LifecycleHandler: Something to do; exactly one.
  exec: Run a command in the container.
  httpGet: Send a GET request.
  tcpSocket: Deprecated.
  sleep: Wait.
core.v1.SleepAction: Waiting.
  seconds: How long.
core.v1.SecurityContext: User, capabilities and protection of a container.
  capabilities: Rights of root that are given or taken.
  privileged: Give it all rights on the node.
  runAsUser: The user id of the process; that of the image by default.
  runAsGroup: The group id of the process.
  runAsNonRoot: Refuse to run as root.
  readOnlyRootFilesystem: Let nothing be written outside of volumes.
  allowPrivilegeEscalation: Whether a process may get more rights than its parent.
  procMount: How /proc looks: Default or Unmasked.
  seLinuxOptions: The SELinux label.
  seccompProfile: Which system calls are allowed.
  appArmorProfile: The AppArmor profile.
  windowsOptions: Options for Windows.
core.v1.Capabilities: Rights of root, by the names that Linux has for them, without CAP_.
  add: Given.
  drop: Taken; ALL for all.
core.v1.SELinuxOptions: An SELinux label.
  user: The user part.
  role: The role part.
  type: The type part.
  level: The level part.
core.v1.WindowsSecurityContextOptions: Options for containers on Windows.
  gmsaCredentialSpecName: The name of the group-managed account's specification.
  gmsaCredentialSpec: The specification itself.
  runAsUserName: The user of the process.
  hostProcess: Run as a process of the host.
core.v1.SeccompProfile: Which system calls are allowed.
  type: RuntimeDefault, Localhost or Unconfined.
  localhostProfile: The profile's file below the kubelet's folder, for Localhost.
core.v1.AppArmorProfile: An AppArmor profile.
  type: RuntimeDefault, Localhost or Unconfined.
  localhostProfile: The name of a profile that is loaded on the node, for Localhost.
core.v1.ContainerStatus: What has become of a container.
  name: The name of the container.
  state: What it does now.
  lastState: How it ended last time.
  ready: Whether it passes its readiness probe.
  started: Whether it passes its startup probe.
  restartCount: How often it was started again.
  image: The image it runs.
  imageID: The digest of the image.
  containerID: Its id, with the runtime before it.
  allocatedResources: What the node has set aside for it.
  resources: What it has now.
  volumeMounts: How its volumes are mounted.
  user: As whom it runs.
  allocatedResourcesStatus: How its devices are.
  stopSignal: The signal that stops it.
core.v1.ContainerState: What a container does; exactly one.
  waiting: It waits for something.
  running: It runs.
  terminated: It has ended.
core.v1.ContainerStateWaiting: A container that waits.
core.v1.ContainerStateRunning: A container that runs.
  startedAt: Since when.
core.v1.ContainerStateTerminated: A container that has ended.
  exitCode: The exit code of its process.
  signal: The signal that ended it.
  startedAt: When it started.
  finishedAt: When it ended.
  containerID: Its id.
core.v1.VolumeMountStatus: How a volume is mounted.
  name: The name of the volume.
  mountPath: Where it is mounted.
  recursiveReadOnly: Whether mounts below it are read-only, too.
  volumeStatus: More on the volume.
core.v1.VolumeStatus: More on a volume.
  image: The image of an image volume.
core.v1.ImageVolumeStatus: The image of a volume.
  imageRef: Its digest.
core.v1.ContainerUser: As whom a container runs.
  linux: On Linux.
core.v1.LinuxContainerUser: As whom a container runs on Linux.
  uid: The user id.
  gid: The group id.
  supplementalGroups: More groups.
core.v1.ResourceStatus: How the devices of a resource are.
  name: The name of the resource.
  resources: Each device.
core.v1.ResourceHealth: How a device is.
  resourceID: Which device.
  health: Healthy, Unhealthy or Unknown.
"""
