"""The programs of others that stand beside the kubelet and give it abilities."""
