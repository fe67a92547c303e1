"""Texts on what all kinds share."""

TEXT = """
meta.v1.ObjectMeta: What every object has: its names, its labels, its owners and its history.
  name: The name, unique among objects of its kind in the namespace. Cannot be changed.
  generateName: The beginning of a name that the server completes; used when name is empty.
  namespace: The namespace it lives in; "default" where none is given. Cannot be changed.
  selfLink: No longer filled in.
  uid: Tells this object from all others that ever had its name; given by the server.
  resourceVersion: The revision that was last written. Send it back to be refused when somebody else has written since.
  generation: Counts the changes of the spec.
  creationTimestamp: When it was created.
  deletionTimestamp: When its graceful deletion ends; set once deletion is asked for.
  deletionGracePeriodSeconds: How long the graceful deletion may take.
  labels: Names and values to select objects by.
  annotations: Names and values for tools; nothing is selected by them.
  ownerReferences: The objects this one exists for; when all of them are gone it is deleted.
  finalizers: Who has work to do before it may disappear; it stays until the list is empty.
  managedFields: Which fields each manager has set; kept by the server for server-side apply.
meta.v1.OwnerReference: An object that another one exists for, in the same namespace or in none.
  kind: The kind of the owner.
  name: The name of the owner.
  uid: The uid of the owner.
  apiVersion: The group and version of the owner.
  controller: Whether the owner is the controller that manages it; at most one is.
  blockOwnerDeletion: Whether the owner, deleted in the foreground, has to wait for this object.
meta.v1.ManagedFieldsEntry: The fields that one manager has set in one way.
  manager: The name of the manager.
  operation: How it set them: Apply or Update.
  apiVersion: The version of the kind in which the fields are named.
  time: When the entry last changed.
  fieldsType: The format of the fields: FieldsV1.
  fieldsV1: The fields, as a tree of "f:name", "k:{keys}" and "v:value".
  subresource: The part of the object through which they were set.
meta.v1.ListMeta: What a list says about itself.
  selfLink: No longer filled in.
  resourceVersion: The revision of the list, to watch from.
  continue: Give this to the next request to get the rest.
  remainingItemCount: About how many objects are left.
meta.v1.LabelSelector: Selects objects by their labels; all that it says has to hold. An empty one selects everything.
  matchLabels: Labels that objects have to have, with these values.
  matchExpressions: Conditions on labels.
meta.v1.LabelSelectorRequirement: A condition on one label.
  key: The name of the label.
  operator: In, NotIn, Exists or DoesNotExist.
  values: The values for In and NotIn.
meta.v1.Condition: A statement on the state of an object.
  type: What the statement is about.
  status: Whether it holds: True, False or Unknown.
meta.v1.DeleteOptions: How to delete.
  gracePeriodSeconds: How long the object may take to stop; 0 deletes at once.
  preconditions: Delete only the object that is meant.
  orphanDependents: Deprecated in favour of propagationPolicy.
  propagationPolicy: What happens to dependents: Orphan, Background or Foreground.
  dryRun: "All" goes through every step except the last.
  ignoreStoreReadErrorWithClusterBreakingPotential: Delete an object although what is stored of it cannot be read.
meta.v1.Preconditions: What has to be so for a deletion to happen.
  uid: The uid of the object.
  resourceVersion: The revision of the object.
meta.v1.Status: The answer to a request that has no object to show.
  status: Success or Failure.
  code: The HTTP code.
  details: What the refusal is about.
meta.v1.StatusDetails: What a refusal is about.
  name: The name of the object.
  group: The group of the kind.
  kind: The resource.
  uid: The uid of the object.
  causes: What is wrong, field by field.
  retryAfterSeconds: When to try again.
meta.v1.StatusCause: One thing that is wrong.
  field: The path of the field.
meta.v1.WatchEvent: One change.
  type: ADDED, MODIFIED, DELETED, BOOKMARK or ERROR.
  object: The object after the change; a Status for ERROR.
meta.v1.Time: A moment, to the second, as RFC 3339 writes it.
meta.v1.MicroTime: A moment, to the microsecond, as RFC 3339 writes it.
meta.v1.Duration: A span of time such as 1h30m.
meta.v1.FieldsV1: A set of fields as a tree.
resource.Quantity: A number with a suffix: 500m is a half, 1Gi is 1024 x 1024 x 1024.
intstr.IntOrString: A number, or a text such as "25%" or the name of a port.
runtime.RawExtension: Any JSON object.
autoscaling.v1.Scale: How many replicas a workload wants and has, whatever its kind.
autoscaling.v1.ScaleSpec: How many replicas are wanted.
  replicas: The number of replicas wanted.
autoscaling.v1.ScaleStatus: How many replicas there are.
  replicas: The number of replicas there are.
  selector: Which Pods they are, as text.
"""
