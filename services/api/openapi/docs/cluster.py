"""Texts on namespaces, nodes, quotas, leases and events."""

TEXT = """
core.v1.Namespace: A room for names: objects of different namespaces may have the same name.
core.v1.NamespaceSpec: What has to be done before it can go.
  finalizers: Who has work to do before it disappears.
core.v1.NamespaceStatus: What has become of the namespace.
  phase: Active or Terminating.
core.v1.NamespaceCondition: A statement on a namespace that is being deleted.
  type: What the statement is about.
  status: Whether it holds: True, False or Unknown.
core.v1.ResourceQuota: Limits what a namespace may use altogether.
core.v1.ResourceQuotaSpec: What is limited.
  hard: The most of each, such as pods, requests.cpu or count/jobs.batch.
  scopes: Which Pods count, such as BestEffort; all by default.
  scopeSelector: Which Pods count, by conditions.
core.v1.ScopeSelector: Which Pods count; all conditions have to hold.
  matchExpressions: The conditions.
core.v1.ScopedResourceSelectorRequirement: A condition on Pods.
  scopeName: What it is about, such as PriorityClass.
  operator: In, NotIn, Exists or DoesNotExist.
  values: The values for In and NotIn.
core.v1.ResourceQuotaStatus: What is used.
  hard: The most of each.
  used: How much of each is used.
core.v1.LimitRange: Limits what single objects of a namespace may ask for, and says what they get by default.
core.v1.LimitRangeSpec: The limits.
  limits: One for each type.
core.v1.LimitRangeItem: What objects of a type may ask for.
  type: Container, Pod or PersistentVolumeClaim.
  max: The most.
  min: The least.
  default: The limits of containers that have none.
  defaultRequest: The requests of containers that have none.
  maxLimitRequestRatio: How many times its request a limit may be.
core.v1.Node: A machine that runs Pods.
core.v1.NodeSpec: What holds for the node.
  podCIDR: The addresses for its Pods.
  podCIDRs: The addresses for its Pods, one range for each family.
  providerID: What the cloud calls it.
  unschedulable: Place no more Pods on it (cordon).
  taints: What keeps Pods away that do not tolerate it.
  externalID: No longer used.
  configSource: No longer used.
core.v1.Taint: Keeps Pods away from a node.
  key: Its name.
  value: Its value.
  effect: NoSchedule, PreferNoSchedule, or NoExecute: Pods that run there have to leave, too.
  timeAdded: When it was added.
core.v1.NodeStatus: How the node is.
  capacity: What it has.
  allocatable: What of that Pods can have.
  phase: No longer used.
  addresses: Where it can be reached.
  daemonEndpoints: The ports of its daemons.
  nodeInfo: What runs on it.
  images: The images it has.
  volumesInUse: Volumes that Pods on it use.
  volumesAttached: Volumes that are attached to it.
  config: No longer used.
  runtimeHandlers: What its runtime can do.
  features: What its runtime can do at all.
  declaredFeatures: What its kubelet can do.
core.v1.NodeCondition: A statement on the state of a node.
  type: Ready, MemoryPressure, DiskPressure, PIDPressure or NetworkUnavailable.
  status: Whether it holds: True, False or Unknown.
core.v1.NodeAddress: An address of a node.
  type: InternalIP, ExternalIP, Hostname, InternalDNS or ExternalDNS.
  address: The address.
core.v1.NodeDaemonEndpoints: The ports of a node's daemons.
  kubeletEndpoint: The kubelet.
core.v1.DaemonEndpoint: The port of a daemon.
  Port: The port.
core.v1.NodeSystemInfo: What runs on a node.
  machineID: The machine's id.
  systemUUID: The id of its hardware.
  bootID: The id of its last start.
  kernelVersion: The kernel.
  osImage: The operating system.
  containerRuntimeVersion: The container runtime.
  kubeletVersion: The kubelet.
  kubeProxyVersion: No longer filled in.
  operatingSystem: linux or windows.
  architecture: The processor, such as amd64.
  swap: Its swap space.
core.v1.NodeSwapStatus: Swap space.
  capacity: How many bytes.
core.v1.ContainerImage: An image on a node.
  names: Its names.
  sizeBytes: How large it is.
core.v1.AttachedVolume: A volume that is attached to a node.
  name: Its name.
  devicePath: Where it is.
core.v1.NodeRuntimeHandler: A way in which a node can run Pods.
  name: Its name; empty for the default one.
  features: What it can do.
core.v1.NodeRuntimeHandlerFeatures: What a way to run Pods can do.
  recursiveReadOnlyMounts: Mounts that are read-only all the way down.
  userNamespaces: Users of their own.
core.v1.NodeFeatures: What a runtime can do at all.
  supplementalGroupsPolicy: Whether supplementalGroupsPolicy is obeyed.
core.v1.ObjectReference: Another object.
  kind: Its kind.
  namespace: Its namespace.
  name: Its name.
  uid: Its uid.
  apiVersion: Its group and version.
  resourceVersion: Its revision.
  fieldPath: A part of it, such as spec.containers{web}.
core.v1.Event: Something that happened to an object.
  involvedObject: The object.
  reason: Why, in one word.
  message: What happened, for people.
  source: Who says so.
  firstTimestamp: When it happened first.
  lastTimestamp: When it happened last.
  count: How often.
  type: Normal or Warning.
  eventTime: When it happened.
  series: How often it has happened since.
  action: What was done.
  related: Another object that has to do with it.
  reportingComponent: Who says so, such as kubelet.
  reportingInstance: Which one of them.
core.v1.EventSource: Who reports an event.
  component: The component.
  host: The node it runs on.
core.v1.EventSeries: An event that happens again and again.
  count: How often.
  lastObservedTime: When it happened last.
events.v1.Event: Something that happened to an object.
  eventTime: When it happened.
  series: How often it has happened since.
  reportingController: Who says so, such as example.com/controller.
  reportingInstance: Which one of them.
  action: What was done.
  reason: Why, in one word.
  regarding: The object.
  related: Another object that has to do with it.
  note: What happened, for people.
  type: Normal or Warning.
  deprecatedSource: Who says so, as older clients tell it.
  deprecatedFirstTimestamp: When it happened first, as older clients tell it.
  deprecatedLastTimestamp: When it happened last, as older clients tell it.
  deprecatedCount: How often, as older clients tell it.
events.v1.EventSeries: An event that happens again and again.
  count: How often.
  lastObservedTime: When it happened last.
coordination.v1.Lease: Says who has something for a while: a leader its office, a node its life.
coordination.v1.LeaseSpec: Who has it, and until when.
  holderIdentity: Who has it.
  leaseDurationSeconds: How long others have to wait after renewTime.
  acquireTime: Since when the holder has it.
  renewTime: When the holder last confirmed it.
  leaseTransitions: How often it has changed hands.
  strategy: How a leader is chosen, for coordinated elections.
  preferredHolder: Who shall have it next.
"""
