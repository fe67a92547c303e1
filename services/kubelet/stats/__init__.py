"""What the node, its Pods and their containers use of CPU, memory, disks and network."""
