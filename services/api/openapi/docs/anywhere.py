"""Members that mean the same in all messages."""

TEXT = """
metadata: Name, namespace, labels and what else all objects have.
spec: What is wanted.
status: What has been observed; written by controllers.
items: The objects.
conditions: Statements on the state of the object, each with a type of its own.
observedGeneration: The metadata.generation that this has been observed for.
lastTransitionTime: When the status last changed.
lastUpdateTime: When the condition was last written.
lastProbeTime: When it was last looked at.
lastHeartbeatTime: When it was last confirmed.
reason: The cause in one word, for programs.
message: The cause in a sentence, for people.
fsType: The type of the file system on the volume, such as ext4.
readOnly: Mount it without the right to write.
collisionCount: How often a hash had to be changed because its name was taken; kept by the controller.
"""
