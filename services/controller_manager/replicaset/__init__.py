"""ReplicaSets: keeps the wanted number of Pods of one template alive."""
