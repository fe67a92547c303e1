"""Texts on the kinds that make Pods."""

_POD_COUNTS = """
  replicas: How many Pods there are.
  readyReplicas: How many of them are ready.
  availableReplicas: How many have been ready for minReadySeconds.
"""
_CONDITION = """
  type: What the statement is about.
  status: Whether it holds: True, False or Unknown.
"""

TEXT = f"""
apps.v1.Deployment: Keeps a number of equal Pods running, and replaces them step by step when their template changes.
apps.v1.DeploymentSpec: Which Pods, how many, and how they are replaced.
  replicas: How many Pods; 1 by default.
  selector: Which Pods are meant; has to match the template's labels. Cannot be changed.
  template: What the Pods are made from.
  strategy: How old Pods are replaced by new ones.
  minReadySeconds: How long a new Pod has to be ready to count as available.
  revisionHistoryLimit: How many old ReplicaSets are kept to roll back to; 10 by default.
  paused: Let changes of the template wait.
  progressDeadlineSeconds: After so long without progress a rollout counts as stuck; 600 by default.
apps.v1.DeploymentStrategy: How old Pods are replaced.
  type: RollingUpdate (the default) or Recreate: stop all, then start all.
  rollingUpdate: The pace of a rolling update.
apps.v1.RollingUpdateDeployment: The pace of a rolling update.
  maxUnavailable: How many Pods may be missing, as number or percentage; 25% by default.
  maxSurge: How many Pods may be there in addition, as number or percentage; 25% by default.
apps.v1.DeploymentStatus: How far the Deployment is.{_POD_COUNTS}
  updatedReplicas: How many are of the newest template.
  unavailableReplicas: How many are still missing.
  terminatingReplicas: How many are stopping.
apps.v1.DeploymentCondition: A statement on the state of a Deployment.{_CONDITION}
apps.v1.ReplicaSet: Keeps a number of equal Pods running; Deployments make them.
apps.v1.ReplicaSetSpec: Which Pods, and how many.
  replicas: How many Pods; 1 by default.
  minReadySeconds: How long a new Pod has to be ready to count as available.
  selector: Which Pods are meant; has to match the template's labels. Cannot be changed.
  template: What the Pods are made from.
apps.v1.ReplicaSetStatus: How many Pods there are.{_POD_COUNTS}
  fullyLabeledReplicas: How many have all labels of the template.
  terminatingReplicas: How many are stopping.
apps.v1.ReplicaSetCondition: A statement on the state of a ReplicaSet.{_CONDITION}
apps.v1.StatefulSet: Keeps Pods that have names and storage of their own: web-0, web-1, ...
apps.v1.StatefulSetSpec: Which Pods, how many, and their storage.
  replicas: How many Pods; 1 by default.
  selector: Which Pods are meant; has to match the template's labels. Cannot be changed.
  template: What the Pods are made from.
  volumeClaimTemplates: Claims that each Pod gets and finds again after it was replaced.
  serviceName: The headless Service under whose name the Pods are found in DNS.
  podManagementPolicy: One after the other (OrderedReady, the default) or all at once (Parallel).
  updateStrategy: How Pods are replaced when the template changes.
  revisionHistoryLimit: How many old revisions are kept to roll back to; 10 by default.
  minReadySeconds: How long a new Pod has to be ready to count as available.
  persistentVolumeClaimRetentionPolicy: What becomes of the claims.
  ordinals: How Pods are numbered.
apps.v1.StatefulSetUpdateStrategy: How Pods are replaced.
  type: RollingUpdate (the default), or OnDelete: when somebody deletes them.
  rollingUpdate: Where and how fast a rolling update goes.
apps.v1.RollingUpdateStatefulSetStrategy: Where and how fast a rolling update goes.
  partition: Only Pods with this number or a higher one are replaced.
  maxUnavailable: How many may be missing at a time; 1 by default.
apps.v1.StatefulSetPersistentVolumeClaimRetentionPolicy: What becomes of the claims.
  whenDeleted: When the StatefulSet is deleted: Retain (the default) or Delete.
  whenScaled: When a Pod is no longer wanted: Retain (the default) or Delete.
apps.v1.StatefulSetOrdinals: How Pods are numbered.
  start: The first number; 0 by default.
apps.v1.StatefulSetStatus: How far the StatefulSet is.{_POD_COUNTS}
  currentReplicas: How many are of the current revision.
  updatedReplicas: How many are of the update revision.
  currentRevision: The revision that is being replaced.
  updateRevision: The newest revision.
apps.v1.StatefulSetCondition: A statement on the state of a StatefulSet.{_CONDITION}
apps.v1.DaemonSet: Keeps one Pod on every node that qualifies.
apps.v1.DaemonSetSpec: Which Pods, and how they are replaced.
  selector: Which Pods are meant; has to match the template's labels. Cannot be changed.
  template: What the Pods are made from; its node selector and affinity say which nodes qualify.
  updateStrategy: How Pods are replaced when the template changes.
  minReadySeconds: How long a new Pod has to be ready to count as available.
  revisionHistoryLimit: How many old revisions are kept to roll back to; 10 by default.
apps.v1.DaemonSetUpdateStrategy: How Pods are replaced.
  type: RollingUpdate (the default), or OnDelete: when somebody deletes them.
  rollingUpdate: The pace of a rolling update.
apps.v1.RollingUpdateDaemonSet: The pace of a rolling update.
  maxUnavailable: On how many nodes the Pod may be missing, as number or percentage; 1 by default.
  maxSurge: On how many nodes the new Pod may run beside the old one; 0 by default.
apps.v1.DaemonSetStatus: How far the DaemonSet is.
  currentNumberScheduled: How many nodes that should have the Pod have it.
  numberMisscheduled: How many nodes have it that should not.
  desiredNumberScheduled: How many nodes should have it.
  numberReady: On how many it is ready.
  updatedNumberScheduled: On how many it is of the newest template.
  numberAvailable: On how many it is available.
  numberUnavailable: On how many it is not.
apps.v1.DaemonSetCondition: A statement on the state of a DaemonSet.{_CONDITION}
apps.v1.ControllerRevision: The template of a DaemonSet or StatefulSet as it was.
  data: What it was.
  revision: Its number.
core.v1.ReplicationController: Keeps a number of equal Pods running; the older form of a ReplicaSet.
core.v1.ReplicationControllerSpec: Which Pods, and how many.
  replicas: How many Pods; 1 by default.
  selector: The labels of the Pods that are meant; those of the template by default.
  template: What the Pods are made from.
  minReadySeconds: How long a new Pod has to be ready to count as available.
core.v1.ReplicationControllerStatus: How many Pods there are.{_POD_COUNTS}
  fullyLabeledReplicas: How many have all labels of the template.
core.v1.ReplicationControllerCondition: A statement on the state of a ReplicationController.{_CONDITION}
batch.v1.Job: Runs Pods until enough of them have succeeded.
batch.v1.JobSpec: Which Pods, how many, and what to do when they fail.
  parallelism: How many Pods run at a time; 1 by default.
  completions: How many have to succeed; 1 by default.
  completionMode: NonIndexed (the default), or Indexed: each Pod has a number from 0 on.
  activeDeadlineSeconds: After so many seconds the Job has failed.
  backoffLimit: How many failures are allowed; 6 by default.
  backoffLimitPerIndex: How many failures are allowed for each number of an Indexed Job.
  maxFailedIndexes: How many numbers may fail before the Job does.
  podFailurePolicy: Which failures count, which do not, and which end the Job.
  podReplacementPolicy: When a Pod is replaced: TerminatingOrFailed, or Failed: once it has ended.
  successPolicy: When an Indexed Job has succeeded although not all numbers have.
  selector: Which Pods are meant; made by the server.
  manualSelector: Use the selector as it is written. Two Jobs must not have the same.
  template: What the Pods are made from; its restartPolicy is Never or OnFailure.
  ttlSecondsAfterFinished: How long the Job is kept after its end; for ever by default.
  suspend: Run nothing for now; what runs is stopped.
  managedBy: Which controller looks after it; the built-in one by default.
batch.v1.PodFailurePolicy: What failures mean.
  rules: Asked in this order; the first that fits counts.
batch.v1.PodFailurePolicyRule: What some failures mean.
  action: FailJob, FailIndex, Ignore or Count.
  onExitCodes: Failures with these exit codes.
  onPodConditions: Failures of Pods with one of these conditions.
batch.v1.PodFailurePolicyOnExitCodesRequirement: Exit codes.
  containerName: Of which container; of any by default.
  operator: In or NotIn.
  values: The codes.
batch.v1.PodFailurePolicyOnPodConditionsPattern: A condition of a Pod.
  type: Its type.
  status: Its status; True by default.
batch.v1.SuccessPolicy: When a Job has succeeded.
  rules: One of them has to hold.
batch.v1.SuccessPolicyRule: Numbers that have to succeed.
  succeededIndexes: Which numbers, such as 0,2-5.
  succeededCount: How many of them; all by default.
batch.v1.JobTemplateSpec: What Jobs are made from.
batch.v1.JobStatus: How far the Job is.
  startTime: When it was begun.
  completionTime: When it succeeded.
  active: How many Pods run or wait.
  terminating: How many Pods are stopping.
  ready: How many Pods are ready.
  succeeded: How many Pods have succeeded.
  failed: How many Pods have failed.
  completedIndexes: Which numbers have succeeded, such as 0,2-5.
  failedIndexes: Which numbers have failed.
  uncountedTerminatedPods: Pods that have ended and are not in the counts yet.
batch.v1.UncountedTerminatedPods: Pods that have ended and are not in the counts yet.
  succeeded: The uids of those that succeeded.
  failed: The uids of those that failed.
batch.v1.JobCondition: A statement on the state of a Job.
  type: Complete, Failed, Suspended, FailureTarget or SuccessCriteriaMet.
  status: Whether it holds: True, False or Unknown.
batch.v1.CronJob: Makes a Job at certain times.
batch.v1.CronJobSpec: When, and which Job.
  schedule: When, as cron writes it: minute, hour, day, month, weekday.
  timeZone: The time zone of the schedule, such as Europe/Athens; that of the controller by default.
  startingDeadlineSeconds: How late a Job may start before it is left out.
  concurrencyPolicy: What happens while the last Job still runs: Allow (the default), Forbid or Replace.
  suspend: Make no Jobs for now.
  jobTemplate: What the Jobs are made from.
  successfulJobsHistoryLimit: How many Jobs that succeeded are kept; 3 by default.
  failedJobsHistoryLimit: How many Jobs that failed are kept; 1 by default.
batch.v1.CronJobStatus: What has been made.
  active: The Jobs that run.
  lastScheduleTime: When the last Job was made.
  lastSuccessfulTime: When the last Job succeeded.
"""
