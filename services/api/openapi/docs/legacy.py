"""Texts on what is deprecated: storage that CSI drivers have taken over, and a kubelet's configuration by API."""

_CEPH_FS = """
  monitors: Addresses of the monitors.
  path: The folder that is mounted; the root by default.
  user: The user; admin by default.
  secretFile: The file with the key.
  secretRef: The Secret with the key.
"""
_CINDER = """
  volumeID: The id of the disk.
  secretRef: The Secret with credentials.
"""
_FLEX = """
  driver: The name of the driver.
  secretRef: The Secret that the driver gets.
  options: What the driver has to know.
"""
_GLUSTER = """
  endpoints: The Endpoints with the addresses of the servers.
  path: The name of the volume.
"""
_RBD = """
  monitors: Addresses of the monitors.
  image: The name of the image.
  pool: Its pool; rbd by default.
  user: The user; admin by default.
  keyring: The file with the key; /etc/ceph/keyring by default.
  secretRef: The Secret with the key.
"""
_SCALE_IO = """
  gateway: The address of the gateway.
  system: The name of the system.
  secretRef: The Secret with credentials.
  sslEnabled: Use TLS.
  protectionDomain: The protection domain.
  storagePool: The storage pool.
  storageMode: ThickProvisioned or ThinProvisioned (the default).
  volumeName: The name of the volume.
"""
_STORAGE_OS = """
  volumeName: The name of the volume.
  volumeNamespace: Its namespace.
  secretRef: The Secret with credentials.
"""
_AZURE_FILE = """
  secretName: The Secret with the account and its key.
  shareName: The name of the share.
"""

TEXT = f"""
core.v1.AWSElasticBlockStoreVolumeSource: A disk of AWS.
  volumeID: The id of the disk.
  partition: The partition; the whole disk by default.
core.v1.AzureDiskVolumeSource: A disk of Azure.
  diskName: The name of the disk.
  diskURI: Where the disk is.
  cachingMode: None, ReadOnly or ReadWrite (the default).
  kind: Shared (the default), Dedicated or Managed.
core.v1.AzureFileVolumeSource: A share of Azure.{_AZURE_FILE}
core.v1.AzureFilePersistentVolumeSource: A share of Azure.{_AZURE_FILE}
  secretNamespace: The namespace of the Secret.
core.v1.CephFSVolumeSource: A CephFS file system.{_CEPH_FS}
core.v1.CephFSPersistentVolumeSource: A CephFS file system.{_CEPH_FS}
core.v1.CinderVolumeSource: A disk of OpenStack.{_CINDER}
core.v1.CinderPersistentVolumeSource: A disk of OpenStack.{_CINDER}
core.v1.FlexVolumeSource: Storage of a FlexVolume driver.{_FLEX}
core.v1.FlexPersistentVolumeSource: Storage of a FlexVolume driver.{_FLEX}
core.v1.FlockerVolumeSource: A Flocker volume.
  datasetName: The name of the data set.
  datasetUUID: The id of the data set.
core.v1.GCEPersistentDiskVolumeSource: A disk of Google Compute Engine.
  pdName: The name of the disk.
  partition: The partition; the whole disk by default.
core.v1.GitRepoVolumeSource: A Git repository.
  repository: Where it is.
  revision: The commit.
  directory: The folder it is put into.
core.v1.GlusterfsVolumeSource: A GlusterFS volume.{_GLUSTER}
core.v1.GlusterfsPersistentVolumeSource: A GlusterFS volume.{_GLUSTER}
  endpointsNamespace: The namespace of the Endpoints; that of the claim by default.
core.v1.ISCSIPersistentVolumeSource: A disk of an iSCSI target.
  targetPortal: The target's address and port.
  iqn: The target's name.
  lun: The number of the disk.
  iscsiInterface: The interface of the initiator; "default" by default.
  portals: More addresses of the target.
  chapAuthDiscovery: Use CHAP to find targets.
  chapAuthSession: Use CHAP for sessions.
  secretRef: The Secret with CHAP's credentials.
  initiatorName: The name of the initiator.
core.v1.PhotonPersistentDiskVolumeSource: A disk of Photon.
  pdID: The id of the disk.
core.v1.PortworxVolumeSource: A Portworx volume.
  volumeID: The id of the volume.
core.v1.QuobyteVolumeSource: A Quobyte volume.
  registry: Addresses of the registries.
  volume: The name of the volume.
  user: The user.
  group: The group.
  tenant: The tenant.
core.v1.RBDVolumeSource: A Ceph block device.{_RBD}
core.v1.RBDPersistentVolumeSource: A Ceph block device.{_RBD}
core.v1.ScaleIOVolumeSource: A ScaleIO volume.{_SCALE_IO}
core.v1.ScaleIOPersistentVolumeSource: A ScaleIO volume.{_SCALE_IO}
core.v1.StorageOSVolumeSource: A StorageOS volume.{_STORAGE_OS}
core.v1.StorageOSPersistentVolumeSource: A StorageOS volume.{_STORAGE_OS}
core.v1.VsphereVirtualDiskVolumeSource: A disk of vSphere.
  volumePath: The path of the disk.
  storagePolicyName: The name of its policy.
  storagePolicyID: The id of its policy.
core.v1.NodeConfigSource: Where a kubelet got its configuration from.
  configMap: A ConfigMap.
core.v1.ConfigMapNodeConfigSource: A ConfigMap with the configuration of a kubelet.
  namespace: Its namespace.
  name: Its name.
  uid: Its uid.
  resourceVersion: Its revision.
  kubeletConfigKey: The entry.
core.v1.NodeConfigStatus: Which configuration a kubelet had.
  assigned: The one it was given.
  active: The one it used.
  lastKnownGood: The one that worked last.
  error: What was wrong.
"""
