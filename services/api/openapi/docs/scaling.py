"""Texts on autoscaling, disruptions and priorities."""

_REFERENCE = """
  kind: Its kind.
  name: Its name.
  apiVersion: Its group and version.
"""
_METRICS = """
  type: Which of the others is set: Resource, ContainerResource, Pods, Object or External.
  resource: cpu or memory of the Pods.
  containerResource: cpu or memory of one container of the Pods.
  pods: A metric of the Pods, averaged over them.
  object: A metric of another object.
  external: A metric from outside of the cluster.
"""
_VALUES = """
  value: The value as a whole.
  averageValue: The value per Pod.
  averageUtilization: The value in percent of what the Pods request.
"""

TEXT = f"""
autoscaling.v2.HorizontalPodAutoscaler: Sets the number of Pods of a workload by what they have to do.
autoscaling.v2.HorizontalPodAutoscalerSpec: Which workload, how many Pods, and by which metrics.
  scaleTargetRef: The workload.
  minReplicas: The fewest Pods; 1 by default.
  maxReplicas: The most Pods.
  metrics: What to go by; the metric that asks for the most Pods counts.
  behavior: How fast to go up and down.
autoscaling.v2.CrossVersionObjectReference: Another object of the namespace.{_REFERENCE}
autoscaling.v2.MetricSpec: A metric, and what it shall be.{_METRICS}
autoscaling.v2.MetricTarget: What a metric shall be.
  type: Which of the others is set: Value, AverageValue or Utilization.{_VALUES}
autoscaling.v2.MetricIdentifier: Which metric.
  name: Its name.
  selector: Its labels.
autoscaling.v2.ResourceMetricSource: cpu or memory of the Pods.
  name: cpu or memory.
  target: What it shall be.
autoscaling.v2.ContainerResourceMetricSource: cpu or memory of one container of the Pods.
  name: cpu or memory.
  container: The name of the container.
  target: What it shall be.
autoscaling.v2.PodsMetricSource: A metric of the Pods.
  metric: Which metric.
  target: What it shall be per Pod.
autoscaling.v2.ObjectMetricSource: A metric of another object.
  describedObject: The object.
  metric: Which metric.
  target: What it shall be.
autoscaling.v2.ExternalMetricSource: A metric from outside of the cluster.
  metric: Which metric.
  target: What it shall be.
autoscaling.v2.HorizontalPodAutoscalerBehavior: How fast to go up and down.
  scaleUp: How to add Pods.
  scaleDown: How to remove Pods.
autoscaling.v2.HPAScalingRules: How fast to go in one direction.
  stabilizationWindowSeconds: How far to look back, so as not to go to and fro; 0 upwards, 300 downwards by default.
  selectPolicy: Which policy counts: Max (the default), Min, or Disabled: do not go there.
  policies: How much is allowed.
  tolerance: How far off a metric may be before anything is done; 0.1 by default.
autoscaling.v2.HPAScalingPolicy: How much is allowed in a time.
  type: Pods or Percent.
  value: How much.
  periodSeconds: In how many seconds.
autoscaling.v2.HorizontalPodAutoscalerStatus: What has been measured and done.
  lastScaleTime: When the number was last changed.
  currentReplicas: How many Pods there are.
  desiredReplicas: How many there should be.
  currentMetrics: What the metrics are.
autoscaling.v2.MetricStatus: What a metric is.{_METRICS}
autoscaling.v2.MetricValueStatus: What a metric is.{_VALUES}
autoscaling.v2.HorizontalPodAutoscalerCondition: A statement on the state of an autoscaler.
  type: AbleToScale, ScalingActive or ScalingLimited.
  status: Whether it holds: True, False or Unknown.
autoscaling.v2.ResourceMetricStatus: cpu or memory of the Pods.
  name: cpu or memory.
  current: What it is.
autoscaling.v2.ContainerResourceMetricStatus: cpu or memory of one container of the Pods.
  name: cpu or memory.
  container: The name of the container.
  current: What it is.
autoscaling.v2.PodsMetricStatus: A metric of the Pods.
  metric: Which metric.
  current: What it is.
autoscaling.v2.ObjectMetricStatus: A metric of another object.
  describedObject: The object.
  metric: Which metric.
  current: What it is.
autoscaling.v2.ExternalMetricStatus: A metric from outside of the cluster.
  metric: Which metric.
  current: What it is.
autoscaling.v1.HorizontalPodAutoscaler: Sets the number of Pods of a workload by their use of cpu.
autoscaling.v1.HorizontalPodAutoscalerSpec: Which workload, how many Pods, and how busy.
  scaleTargetRef: The workload.
  minReplicas: The fewest Pods; 1 by default.
  maxReplicas: The most Pods.
  targetCPUUtilizationPercentage: How much of the cpu they request Pods shall use on average; 80 by default.
autoscaling.v1.CrossVersionObjectReference: Another object of the namespace.{_REFERENCE}
autoscaling.v1.HorizontalPodAutoscalerStatus: What has been measured and done.
  lastScaleTime: When the number was last changed.
  currentReplicas: How many Pods there are.
  desiredReplicas: How many there should be.
  currentCPUUtilizationPercentage: How much of the cpu they request Pods use on average.
policy.v1.PodDisruptionBudget: Limits how many Pods may be evicted at a time.
policy.v1.PodDisruptionBudgetSpec: Which Pods, and how many have to stay.
  minAvailable: How many have to stay, as number or percentage. Not together with maxUnavailable.
  maxUnavailable: How many may be missing, as number or percentage. Not together with minAvailable.
  selector: Which Pods.
  unhealthyPodEvictionPolicy: When Pods that are not ready may go: IfHealthyBudget (the default) or AlwaysAllow.
policy.v1.PodDisruptionBudgetStatus: How many Pods may go now.
  disruptedPods: Pods whose eviction was allowed and that are still there.
  disruptionsAllowed: How many may be evicted now.
  currentHealthy: How many are ready.
  desiredHealthy: How many have to be ready.
  expectedPods: How many there should be.
policy.v1.Eviction: Asks a Pod to leave, if budgets allow it.
  deleteOptions: How to delete it.
scheduling.v1.PriorityClass: A name for a priority of Pods.
  value: The priority; higher ones go first.
  globalDefault: Whether it is for Pods that name none.
  description: What it is for.
  preemptionPolicy: Whether its Pods may displace others: PreemptLowerPriority (the default) or Never.
node.v1.RuntimeClass: A way to run Pods.
  handler: The name under which the runtime of the node knows it. Cannot be changed.
  overhead: What a Pod needs in addition.
  scheduling: Which nodes have it.
node.v1.Overhead: What a Pod needs in addition.
  podFixed: How much of each resource.
node.v1.Scheduling: Which nodes have a way to run Pods.
  nodeSelector: Labels of these nodes.
  tolerations: Taints of these nodes that its Pods tolerate.
"""
