"""What every Namespace gets: its `default` ServiceAccount and the cluster's root certificate."""
