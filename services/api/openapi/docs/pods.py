"""Texts on Pods and where they run."""

TEXT = """
core.v1.Pod: Containers that run together on one node and share its network address and volumes.
core.v1.PodSpec: What shall run, and how.
  volumes: Storage that containers can mount.
  containers: What runs; at least one. Cannot be added or removed later.
  initContainers: What runs first, each to its end; with restartPolicy Always it stays as a sidecar.
  ephemeralContainers: Containers added to a running Pod for debugging.
  restartPolicy: When containers that end are started again: Always (the default), OnFailure or Never.
  terminationGracePeriodSeconds: How long containers may take to stop before they are killed; 30 by default.
  activeDeadlineSeconds: After so many seconds the Pod is stopped and has failed.
  dnsPolicy: Where names are looked up: ClusterFirst (the default), ClusterFirstWithHostNet, Default or None.
  dnsConfig: Name servers and options beside those of dnsPolicy.
  nodeSelector: Labels that the node has to have.
  nodeName: The node it runs on; set by the scheduler, or by hand to go past it.
  affinity: Which nodes, and the company of which Pods, it wants or avoids.
  tolerations: Which taints of nodes do not keep it away.
  topologySpreadConstraints: How evenly Pods like it are spread over zones, nodes or other domains.
  schedulerName: Which scheduler places it.
  schedulingGates: What has to be removed before it is placed.
  schedulingGroup: The group of Pods that are placed together.
  priorityClassName: The PriorityClass that gives its priority.
  priority: Pods of higher priority go first and may displace others; filled in from the class.
  preemptionPolicy: Whether it may displace others: PreemptLowerPriority (the default) or Never.
  serviceAccountName: The ServiceAccount as which its containers talk to the API.
  serviceAccount: An old name of serviceAccountName.
  automountServiceAccountToken: Whether containers get a token of the ServiceAccount.
  imagePullSecrets: Secrets with credentials for the registries of its images.
  securityContext: Users, groups and protection that hold for all containers.
  hostNetwork: Use the network of the node.
  hostPID: See the processes of the node.
  hostIPC: Share interprocess communication with the node.
  hostUsers: False maps the users of the containers to others on the node.
  shareProcessNamespace: Let containers see each other's processes.
  hostname: The host name; the name of the Pod by default.
  hostnameOverride: The host name as containers see it, whatever the other fields say.
  subdomain: With it the Pod has the name hostname.subdomain.namespace.svc in DNS.
  setHostnameAsFQDN: Use the full DNS name as host name.
  hostAliases: More lines for /etc/hosts.
  enableServiceLinks: Whether Services of the namespace show up as environment variables; true by default.
  readinessGates: Conditions that have to hold, too, for the Pod to be ready.
  runtimeClassName: The RuntimeClass that runs it.
  overhead: What the runtime itself needs; filled in from the RuntimeClass.
  os: The operating system it is made for.
  resourceClaims: Devices it needs, as claims that containers refer to.
  resources: What all containers together may use and are promised.
core.v1.PodOS: An operating system.
  name: linux or windows.
core.v1.PodSchedulingGate: Something that keeps a Pod from being placed.
  name: Its name.
core.v1.PodSchedulingGroup: A group of Pods that are placed together.
  podGroupName: The name of the group.
core.v1.PodReadinessGate: A condition that a Pod needs to be ready.
  conditionType: The type of the condition.
core.v1.PodResourceClaim: Devices that a Pod needs; exactly one source is given.
  name: The name by which containers refer to it.
  resourceClaimName: A ResourceClaim of the namespace.
  resourceClaimTemplateName: A ResourceClaimTemplate that the Pod gets a claim of its own from.
core.v1.PodTemplateSpec: What Pods are made from.
core.v1.PodTemplate: What Pods can be made from.
  template: The metadata and spec of the Pods.
core.v1.HostAlias: A line of /etc/hosts.
  ip: The address.
  hostnames: The names of the address.
core.v1.PodDNSConfig: How names are looked up.
  nameservers: Addresses of name servers, before those of dnsPolicy.
  searches: Domains in which short names are tried.
  options: Options of the resolver.
core.v1.PodDNSConfigOption: An option of the resolver.
  name: Its name, such as ndots.
  value: Its value, if it has one.
core.v1.PodSecurityContext: Users, groups and protection of all containers of a Pod.
  runAsUser: The user id of the processes; that of the image by default.
  runAsGroup: The group id of the processes.
  runAsNonRoot: Refuse to run as root.
  fsGroup: The group that volumes belong to and processes are in.
  fsGroupChangePolicy: When the group of a volume's files is set: Always or OnRootMismatch.
  supplementalGroups: More groups of the processes.
  supplementalGroupsPolicy: Whether groups of the image count, too: Merge (the default) or Strict.
  sysctls: Kernel parameters of the Pod's namespaces.
  seLinuxOptions: The SELinux label of the containers.
  seLinuxChangePolicy: How volumes get the label: MountOption or Recursive.
  seccompProfile: Which system calls are allowed.
  appArmorProfile: The AppArmor profile of the containers.
  windowsOptions: Options for Windows.
core.v1.Sysctl: A kernel parameter.
  name: Its name, such as net.ipv4.ip_unprivileged_port_start.
  value: Its value.
core.v1.Affinity: Where a Pod wants to run, and where not.
  nodeAffinity: Which nodes.
  podAffinity: Near which Pods.
  podAntiAffinity: Away from which Pods.
core.v1.NodeAffinity: Which nodes a Pod needs or prefers.
  requiredDuringSchedulingIgnoredDuringExecution: Nodes that qualify; others are never taken.
  preferredDuringSchedulingIgnoredDuringExecution: Nodes that are better than others, by weight.
core.v1.NodeSelector: Selects nodes; one of its terms has to hold.
  nodeSelectorTerms: The terms.
core.v1.NodeSelectorTerm: Selects nodes; all that it says has to hold.
  matchExpressions: Conditions on labels of the node.
  matchFields: Conditions on fields of the node, such as metadata.name.
core.v1.NodeSelectorRequirement: A condition on a label or field of a node.
  key: The label or field.
  operator: In, NotIn, Exists, DoesNotExist, Gt or Lt.
  values: The values; one number for Gt and Lt.
core.v1.PreferredSchedulingTerm: Nodes that are preferred.
  weight: How much, from 1 to 100.
  preference: Which nodes.
core.v1.PodAffinity: Which Pods a Pod needs or wants to be near.
  requiredDuringSchedulingIgnoredDuringExecution: Pods that have to be in the same domain.
  preferredDuringSchedulingIgnoredDuringExecution: Pods that are good to have in the same domain, by weight.
core.v1.PodAntiAffinity: Which Pods a Pod has to or wants to be away from.
  requiredDuringSchedulingIgnoredDuringExecution: Pods that must not be in the same domain.
  preferredDuringSchedulingIgnoredDuringExecution: Pods that are better not in the same domain, by weight.
core.v1.PodAffinityTerm: Other Pods, and what "near" means.
  labelSelector: Which Pods.
  namespaces: In which namespaces; that of the Pod by default.
  namespaceSelector: In which namespaces, by label; an empty one means all.
  topologyKey: The label of nodes whose value tells domains apart, such as kubernetes.io/hostname.
  matchLabelKeys: Labels of the Pod whose values the others have to have, too.
  mismatchLabelKeys: Labels of the Pod whose values the others must not have.
core.v1.WeightedPodAffinityTerm: Other Pods whose company counts.
  weight: How much, from 1 to 100.
  podAffinityTerm: Which Pods, and how near.
core.v1.Toleration: A taint that does not keep a Pod away.
  key: The key of the taint; empty means every taint.
  operator: How values compare: Equal (the default), Exists, Lt or Gt.
  value: The value of the taint, for Equal.
  effect: The effect of the taint; empty means each: NoSchedule, PreferNoSchedule, NoExecute.
  tolerationSeconds: How long a NoExecute taint is tolerated; for ever by default.
core.v1.TopologySpreadConstraint: How evenly Pods are spread over domains.
  maxSkew: How many more Pods a domain may have than the emptiest one.
  topologyKey: The label of nodes whose value tells domains apart.
  whenUnsatisfiable: What happens if it cannot be kept: DoNotSchedule or ScheduleAnyway.
  labelSelector: Which Pods are counted.
  minDomains: How many domains there should be at least.
  nodeAffinityPolicy: Whether nodes that affinity rules out count: Honor (they do not) or Ignore.
  nodeTaintsPolicy: Whether nodes with taints that are not tolerated count: Honor (they do not) or Ignore.
  matchLabelKeys: Labels of the Pod whose values the counted Pods have to have, too.
core.v1.PodStatus: What has become of the Pod.
  phase: Pending, Running, Succeeded, Failed or Unknown.
  hostIP: The address of the node.
  hostIPs: The addresses of the node.
  podIP: The address of the Pod.
  podIPs: The addresses of the Pod, one for each family.
  startTime: When the kubelet accepted it.
  initContainerStatuses: What has become of the init containers.
  containerStatuses: What has become of the containers.
  ephemeralContainerStatuses: What has become of the ephemeral containers.
  qosClass: How it fares when the node runs short: Guaranteed, Burstable or BestEffort.
  nominatedNodeName: Where room is being made for it.
  resize: Deprecated: how far a change of resources has got.
  resourceClaimStatuses: The claims that were made for it.
  extendedResourceClaimStatus: The claim made for its extended resources.
  allocatedResources: What the node has set aside for it.
  resources: What all containers together have now.
  nodeAllocatableResourceClaimStatuses: Claims that are met out of what the node has.
core.v1.PodCondition: A statement on the state of a Pod.
  type: PodScheduled, Initialized, ContainersReady, Ready, or that of a readiness gate.
  status: Whether it holds: True, False or Unknown.
core.v1.PodIP: An address of a Pod.
  ip: The address.
core.v1.HostIP: An address of a node.
  ip: The address.
core.v1.PodResourceClaimStatus: A claim that was made for a Pod.
  name: Its name in the Pod.
  resourceClaimName: The ResourceClaim.
core.v1.PodExtendedResourceClaimStatus: The claim made for a Pod's extended resources.
  requestMappings: Which request of the claim is for which container.
  resourceClaimName: The ResourceClaim.
core.v1.ContainerExtendedResourceRequest: A container's extended resource in a claim.
  containerName: The container.
  resourceName: The resource.
  requestName: The request of the claim.
core.v1.NodeAllocatableResourceClaimStatus: A claim that is met out of what the node has.
  resourceClaimName: The ResourceClaim.
  containers: The containers that use it.
  resources: How much of each resource.
"""
