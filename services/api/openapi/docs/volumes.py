"""Texts on the volumes of Pods."""

TEXT = """
core.v1.Volume: Storage that containers of a Pod can mount; exactly one source is given.
  name: The name by which containers mount it.
core.v1.VolumeSource: Where a volume comes from; exactly one.
  emptyDir: A folder that is empty at first and lives as long as the Pod.
  hostPath: A file or folder of the node.
  configMap: The entries of a ConfigMap as files.
  secret: The entries of a Secret as files, kept in memory.
  downwardAPI: Fields of the Pod as files.
  projected: Several of these in one folder.
  persistentVolumeClaim: The volume of a PersistentVolumeClaim.
  ephemeral: A volume with a claim of its own, made with the Pod and deleted with it.
  image: The files of an image.
  csi: Storage that a CSI driver makes for the Pod.
  nfs: A folder of an NFS server.
  iscsi: A disk of an iSCSI target.
  fc: A disk on Fibre Channel.
  gitRepo: Deprecated and not mounted any more: a Git repository.
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
core.v1.EmptyDirVolumeSource: A folder that lives as long as the Pod.
  medium: Where it is kept: "" for the node's disk, Memory for RAM, HugePages.
  sizeLimit: How large it may become before the Pod is evicted.
core.v1.HostPathVolumeSource: A file or folder of the node.
  path: Its path on the node.
  type: What has to be there: Directory, DirectoryOrCreate, File, FileOrCreate, Socket, CharDevice, BlockDevice.
core.v1.ConfigMapVolumeSource: The entries of a ConfigMap as files.
  items: Which entries, and as which files; all, by name, by default.
  defaultMode: The permissions of the files; 0644 by default.
  optional: Whether the ConfigMap may be missing.
core.v1.SecretVolumeSource: The entries of a Secret as files.
  secretName: The name of the Secret.
  items: Which entries, and as which files; all, by name, by default.
  defaultMode: The permissions of the files; 0644 by default.
  optional: Whether the Secret may be missing.
core.v1.KeyToPath: An entry that becomes a file.
  key: The name of the entry.
  path: The file, relative to the volume.
  mode: Its permissions; those of the volume by default.
core.v1.DownwardAPIVolumeSource: Fields of the Pod as files.
  items: The files.
  defaultMode: The permissions of the files; 0644 by default.
core.v1.DownwardAPIVolumeFile: A file with a field of the Pod.
  path: The file, relative to the volume.
  fieldRef: The field.
  resourceFieldRef: A limit or request of a container.
  mode: Its permissions; those of the volume by default.
core.v1.ProjectedVolumeSource: Several sources in one folder.
  sources: The sources.
  defaultMode: The permissions of the files; 0644 by default.
core.v1.VolumeProjection: A source in a projected volume; exactly one.
  secret: Entries of a Secret.
  configMap: Entries of a ConfigMap.
  downwardAPI: Fields of the Pod.
  serviceAccountToken: A token of the Pod's ServiceAccount, renewed in time.
  clusterTrustBundle: Certificates of trust anchors.
  podCertificate: A certificate of the Pod, renewed in time.
core.v1.SecretProjection: Entries of a Secret.
  items: Which entries, and as which files; all, by name, by default.
  optional: Whether the Secret may be missing.
core.v1.ConfigMapProjection: Entries of a ConfigMap.
  items: Which entries, and as which files; all, by name, by default.
  optional: Whether the ConfigMap may be missing.
core.v1.DownwardAPIProjection: Fields of the Pod.
  items: The files.
core.v1.ServiceAccountTokenProjection: A token of the Pod's ServiceAccount.
  audience: Who may accept it; the API server by default.
  expirationSeconds: How long it is valid; 3600 by default, at least 600.
  path: The file, relative to the volume.
core.v1.ClusterTrustBundleProjection: Certificates of trust anchors.
  name: One ClusterTrustBundle.
  signerName: All of this signer.
  labelSelector: Which of the signer's.
  path: The file, relative to the volume.
  optional: Whether there may be none.
core.v1.PodCertificateProjection: A key and its certificate.
  signerName: Who signs it.
  keyType: The kind of key, such as ED25519.
  maxExpirationSeconds: How long it may be valid.
  credentialBundlePath: The file with key and certificates together.
  keyPath: The file with the key.
  certificateChainPath: The file with the certificates.
  userAnnotations: Something to tell the signer.
core.v1.PersistentVolumeClaimVolumeSource: The volume of a claim.
  claimName: The claim, in the namespace of the Pod.
core.v1.EphemeralVolumeSource: A volume with a claim of its own.
  volumeClaimTemplate: What the claim is made from.
core.v1.PersistentVolumeClaimTemplate: What claims are made from.
core.v1.ImageVolumeSource: The files of an image.
  reference: The image.
  pullPolicy: When it is fetched: Always, IfNotPresent or Never.
core.v1.CSIVolumeSource: Storage that a CSI driver makes for the Pod.
  driver: The name of the driver.
  volumeAttributes: What the driver has to know.
  nodePublishSecretRef: A Secret that the driver needs to mount it.
core.v1.NFSVolumeSource: A folder of an NFS server.
  server: The server's name or address.
  path: The exported folder.
core.v1.ISCSIVolumeSource: A disk of an iSCSI target.
  targetPortal: The target's address and port.
  iqn: The target's name.
  lun: The number of the disk.
  iscsiInterface: The interface of the initiator; "default" by default.
  portals: More addresses of the target.
  chapAuthDiscovery: Use CHAP to find targets.
  chapAuthSession: Use CHAP for sessions.
  secretRef: The Secret with CHAP's credentials.
  initiatorName: The name of the initiator.
core.v1.FCVolumeSource: A disk on Fibre Channel.
  targetWWNs: The targets' world wide names.
  lun: The number of the disk.
  wwids: World wide identifiers, instead of targets and number.
"""
