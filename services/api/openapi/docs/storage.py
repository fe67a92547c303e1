"""Texts on configuration and on storage that outlives Pods."""

TEXT = """
core.v1.ConfigMap: Configuration for Pods: names with texts.
  data: Entries that are text.
  binaryData: Entries that are bytes, in base64.
  immutable: Let nobody change the entries any more; only deletion is left.
core.v1.Secret: Passwords, keys and the like for Pods: names with bytes.
  data: The entries, in base64.
  stringData: Entries as text; the server puts them into data. Never shown.
  type: What is in it, such as Opaque (the default) or kubernetes.io/tls. Cannot be changed.
  immutable: Let nobody change the entries any more; only deletion is left.
core.v1.PersistentVolumeClaim: Asks for storage that outlives Pods.
core.v1.PersistentVolumeClaimSpec: Which storage is asked for.
  accessModes: How it shall be mounted: ReadWriteOnce, ReadOnlyMany, ReadWriteMany, ReadWriteOncePod.
  resources: How much.
  storageClassName: The StorageClass it comes from; the default one if not given, none if empty.
  volumeMode: Filesystem (the default) or Block.
  volumeName: The volume it is bound to.
  selector: Labels that the volume has to have.
  dataSource: What it is filled with at first: a snapshot or another claim.
  dataSourceRef: The same, also from other kinds and namespaces.
  volumeAttributesClassName: The VolumeAttributesClass that sets its performance.
core.v1.VolumeResourceRequirements: How much storage.
  requests: The least.
  limits: The most.
core.v1.TypedLocalObjectReference: Another object of the namespace.
  apiGroup: Its group; empty for the core group.
  kind: Its kind.
  name: Its name.
core.v1.TypedObjectReference: Another object.
  apiGroup: Its group; empty for the core group.
  kind: Its kind.
  name: Its name.
  namespace: Its namespace; the same by default.
core.v1.PersistentVolumeClaimStatus: What the claim got.
  phase: Pending, Bound or Lost.
  accessModes: How the volume can be mounted.
  capacity: How large the volume is.
  allocatedResources: How large it is to become.
  allocatedResourceStatuses: How far a change of its size has got.
  currentVolumeAttributesClassName: The VolumeAttributesClass in force.
  modifyVolumeStatus: How far a change of the class has got.
core.v1.PersistentVolumeClaimCondition: A statement on the state of a claim.
  type: What the statement is about, such as Resizing.
  status: Whether it holds: True, False or Unknown.
core.v1.ModifyVolumeStatus: How far a change of a volume's class has got.
  targetVolumeAttributesClassName: The class it shall have.
  status: Pending, InProgress or Infeasible.
core.v1.PersistentVolume: A piece of storage that outlives Pods.
core.v1.PersistentVolumeSpec: Which storage, and for whom.
  capacity: How large it is.
  accessModes: How it can be mounted.
  claimRef: The claim it belongs to.
  persistentVolumeReclaimPolicy: What becomes of it without its claim: Retain, Delete or Recycle.
  storageClassName: The StorageClass it belongs to.
  mountOptions: Options for mounting, such as ro.
  volumeMode: Filesystem (the default) or Block.
  nodeAffinity: Which nodes can reach it.
  volumeAttributesClassName: The VolumeAttributesClass it has.
core.v1.PersistentVolumeSource: Where it is; exactly one.
  hostPath: A folder of a node, for tests with one node.
  local: A disk or folder of one node.
  nfs: A folder of an NFS server.
  iscsi: A disk of an iSCSI target.
  fc: A disk on Fibre Channel.
  csi: Storage of a CSI driver.
  flexVolume: Deprecated: storage of a FlexVolume driver.
  gcePersistentDisk: Deprecated: a disk of Google Compute Engine.
  awsElasticBlockStore: Deprecated: a disk of AWS.
  azureDisk: Deprecated: a disk of Azure.
  azureFile: Deprecated: a share of Azure.
  cephfs: Deprecated: a CephFS file system.
  cinder: Deprecated: a disk of OpenStack.
  flocker: Deprecated: a Flocker volume.
  glusterfs: Deprecated: a GlusterFS volume.
  photonPersistentDisk: Deprecated: a disk of Photon.
  portworxVolume: Deprecated: a Portworx volume.
  quobyte: Deprecated: a Quobyte volume.
  rbd: Deprecated: a Ceph block device.
  scaleIO: Deprecated: a ScaleIO volume.
  storageos: Deprecated: a StorageOS volume.
  vsphereVolume: Deprecated: a disk of vSphere.
core.v1.LocalVolumeSource: A disk or folder of one node.
  path: Its path on the node.
core.v1.CSIPersistentVolumeSource: Storage of a CSI driver.
  driver: The name of the driver.
  volumeHandle: The driver's name for the volume.
  volumeAttributes: What the driver has to know.
  controllerPublishSecretRef: A Secret for attaching it.
  nodeStageSecretRef: A Secret for preparing it on a node.
  nodePublishSecretRef: A Secret for mounting it.
  controllerExpandSecretRef: A Secret for making it larger.
  nodeExpandSecretRef: A Secret for making its file system larger.
core.v1.SecretReference: A Secret.
  name: Its name.
  namespace: Its namespace.
core.v1.VolumeNodeAffinity: Which nodes can reach a volume.
  required: These nodes.
core.v1.PersistentVolumeStatus: What has become of the volume.
  phase: Pending, Available, Bound, Released or Failed.
  lastPhaseTransitionTime: When the phase last changed.
storage.v1.StorageClass: A way to get storage.
  provisioner: Who makes the volumes.
  parameters: What the provisioner has to know.
  reclaimPolicy: What becomes of volumes without their claim: Delete (the default) or Retain.
  mountOptions: Options for mounting.
  allowVolumeExpansion: Whether claims may ask for more later.
  volumeBindingMode: When volumes are made: Immediate (the default) or WaitForFirstConsumer.
  allowedTopologies: Where volumes may be made.
core.v1.TopologySelectorTerm: Places, by labels.
  matchLabelExpressions: The labels.
core.v1.TopologySelectorLabelRequirement: A label.
  key: Its name.
  values: Its values.
storage.v1.VolumeAttributesClass: Performance that volumes of a driver can have.
  driverName: The CSI driver.
  parameters: What the driver has to know.
"""
