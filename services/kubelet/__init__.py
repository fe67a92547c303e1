"""Runs the Pods bound to its node through any CRI runtime."""
