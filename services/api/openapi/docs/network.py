"""Texts on Services, Ingresses, endpoints and network policies."""

TEXT = """
core.v1.Service: A lasting name and address for the Pods that a selector finds.
core.v1.ServiceSpec: Which Pods, on which ports, and who can reach them.
  ports: The ports.
  selector: Labels of the Pods that get the traffic; without it endpoints are made by hand.
  type: ClusterIP (the default), NodePort, LoadBalancer or ExternalName.
  clusterIP: Its address in the cluster; given by the server, or None for a headless Service.
  clusterIPs: Its addresses in the cluster, one for each family.
  ipFamilies: IPv4, IPv6 or both, in order.
  ipFamilyPolicy: SingleStack, PreferDualStack or RequireDualStack.
  externalIPs: Addresses outside of the cluster that lead to nodes, for which nodes accept its traffic, too.
  externalName: The name that it stands for in DNS; type ExternalName only.
  sessionAffinity: None (the default), or ClientIP: the same client goes to the same Pod.
  sessionAffinityConfig: How long a client stays with a Pod.
  loadBalancerIP: Deprecated: the address that a load balancer shall have.
  loadBalancerSourceRanges: Who may use the load balancer, as CIDRs.
  loadBalancerClass: Who makes the load balancer; the cloud by default.
  allocateLoadBalancerNodePorts: Whether a load balancer gets node ports; true by default.
  externalTrafficPolicy: Traffic from outside goes to all Pods (Cluster) or to those of the node (Local).
  internalTrafficPolicy: Traffic from inside goes to all Pods (Cluster) or to those of the node (Local).
  trafficDistribution: Which Pods are preferred: PreferSameZone, PreferSameNode, PreferClose.
  healthCheckNodePort: The port on which nodes tell whether they have Pods, for Local traffic of load balancers.
  publishNotReadyAddresses: Have Pods in DNS before they are ready.
core.v1.ServicePort: A port of a Service.
  name: Its name; needed when there are several.
  protocol: TCP (the default), UDP or SCTP.
  port: The port of the Service.
  targetPort: The port of the Pods, as number or name; the same by default.
  nodePort: The port of each node that leads to it; given by the server.
  appProtocol: What is spoken on it, such as kubernetes.io/h2c.
core.v1.SessionAffinityConfig: How clients stay with Pods.
  clientIP: By the address of the client.
core.v1.ClientIPConfig: Clients that stay with a Pod.
  timeoutSeconds: How long; 10800 by default.
core.v1.ServiceStatus: Where the Service can be reached.
  loadBalancer: The load balancer.
core.v1.LoadBalancerStatus: A load balancer.
  ingress: Where it can be reached.
core.v1.LoadBalancerIngress: A place where a load balancer can be reached.
  ip: Its address.
  hostname: Its name.
  ipMode: Whether traffic comes to the address itself (VIP) or through a proxy (Proxy).
  ports: How its ports are.
core.v1.PortStatus: How a port is.
  port: The port.
  protocol: Its protocol.
  error: What is wrong with it.
core.v1.Endpoints: The addresses behind a Service; the older form of EndpointSlices.
  subsets: Addresses with the ports that they have in common.
core.v1.EndpointSubset: Addresses with the same ports.
  addresses: Those that are ready.
  notReadyAddresses: Those that are not.
  ports: The ports.
core.v1.EndpointAddress: An address behind a Service.
  ip: The address.
  hostname: Its name.
  nodeName: The node it is on.
  targetRef: The Pod it belongs to.
core.v1.EndpointPort: A port behind a Service.
  name: The name of the Service's port.
  port: The port.
  protocol: TCP, UDP or SCTP.
  appProtocol: What is spoken on it.
discovery.v1.EndpointSlice: Some of the addresses behind a Service.
  addressType: IPv4, IPv6 or FQDN. Cannot be changed.
  endpoints: The endpoints, at most 1000.
  ports: The ports of each of them.
discovery.v1.Endpoint: One endpoint.
  addresses: Its addresses; the first one counts.
  conditions: How it is.
  hostname: Its name.
  targetRef: The Pod it belongs to.
  deprecatedTopology: No longer filled in.
  nodeName: The node it is on.
  zone: The zone it is in.
  hints: For whom it is meant.
discovery.v1.EndpointConditions: How an endpoint is.
  ready: It may get traffic.
  serving: It would answer, though it may be stopping.
  terminating: It is stopping.
discovery.v1.EndpointHints: For whom an endpoint is meant.
  forZones: For these zones.
  forNodes: For these nodes.
discovery.v1.ForZone: A zone.
  name: Its name.
discovery.v1.ForNode: A node.
  name: Its name.
discovery.v1.EndpointPort: A port of endpoints.
  name: The name of the Service's port.
  port: The port.
  protocol: TCP (the default), UDP or SCTP.
  appProtocol: What is spoken on it.
networking.v1.Ingress: Leads HTTP requests from outside to Services, by host and path.
networking.v1.IngressSpec: Which requests go where.
  ingressClassName: The IngressClass that serves it.
  defaultBackend: Where requests go that no rule fits.
  rules: Which requests go where.
  tls: Hosts that are served with TLS.
networking.v1.IngressBackend: Where requests go; exactly one.
  service: A Service of the namespace.
  resource: Another object of the namespace.
networking.v1.IngressServiceBackend: A Service.
  name: Its name.
  port: Its port.
networking.v1.ServiceBackendPort: A port of a Service; exactly one.
  name: Its name.
  number: Its number.
networking.v1.IngressTLS: Hosts that are served with TLS.
  hosts: The hosts.
  secretName: The Secret with certificate and key.
networking.v1.IngressRule: Requests for a host.
  host: The host, such as www.example.com or *.example.com; every host by default.
networking.v1.IngressRuleValue: Where the requests for a host go.
  http: By path.
networking.v1.HTTPIngressRuleValue: Where requests go, by path.
  paths: The paths; the longest that fits counts.
networking.v1.HTTPIngressPath: Requests for a path.
  path: The path; begins with a slash.
  pathType: How paths compare: Exact, Prefix or ImplementationSpecific.
  backend: Where the requests go.
networking.v1.IngressStatus: Where the Ingress can be reached.
  loadBalancer: The load balancer.
networking.v1.IngressLoadBalancerStatus: A load balancer.
  ingress: Where it can be reached.
networking.v1.IngressLoadBalancerIngress: A place where a load balancer can be reached.
  ip: Its address.
  hostname: Its name.
  ports: How its ports are.
networking.v1.IngressPortStatus: How a port is.
  port: The port.
  protocol: Its protocol.
  error: What is wrong with it.
networking.v1.IngressClass: A controller that serves Ingresses.
networking.v1.IngressClassSpec: Which controller.
  controller: Its name, such as example.com/ingress. Cannot be changed.
  parameters: An object with its settings.
networking.v1.IngressClassParametersReference: An object with settings.
  apiGroup: Its group; empty for the core group.
  kind: Its kind.
  name: Its name.
  scope: Cluster (the default) or Namespace.
  namespace: Its namespace, for scope Namespace.
networking.v1.NetworkPolicy: Says whom some Pods may talk to, and who to them; all else is forbidden.
networking.v1.NetworkPolicySpec: Which Pods, and what is allowed.
  podSelector: The Pods it is about; an empty one means all of the namespace.
  policyTypes: What it is about: Ingress, Egress or both.
  ingress: Who may talk to the Pods; without a rule nobody.
  egress: Whom the Pods may talk to; without a rule nobody.
networking.v1.NetworkPolicyIngressRule: Someone who may talk to the Pods.
  from: Who; everybody by default.
  ports: On which ports; on all by default.
networking.v1.NetworkPolicyEgressRule: Someone whom the Pods may talk to.
  to: Who; everybody by default.
  ports: On which ports; on all by default.
networking.v1.NetworkPolicyPort: A port, or several.
  protocol: TCP (the default), UDP or SCTP.
  port: The port, as number or name; every port by default.
  endPort: The last one, if several are meant.
networking.v1.NetworkPolicyPeer: Someone to talk to.
  podSelector: These Pods, of the namespaces that namespaceSelector finds or of the policy's own.
  namespaceSelector: The Pods of these namespaces.
  ipBlock: These addresses; not together with the others.
networking.v1.IPBlock: Addresses.
  cidr: The addresses, such as 192.0.2.0/24.
  except: Those among them that are not meant.
networking.v1.IPAddress: An address that something has.
networking.v1.IPAddressSpec: Who has the address.
  parentRef: The object that has it.
networking.v1.ParentReference: The object that has an address.
  group: Its group.
  resource: Its resource.
  namespace: Its namespace.
  name: Its name.
networking.v1.ServiceCIDR: Addresses for Services.
networking.v1.ServiceCIDRSpec: Which addresses.
  cidrs: One range for each family. Cannot be changed.
networking.v1.ServiceCIDRStatus: How the range is.
"""
