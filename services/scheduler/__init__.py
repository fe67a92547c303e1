"""Binds Pods to nodes.

One pass: ``queue`` hands out a Pod, ``cycle`` asks the filters of ``plugins`` which nodes may run it and
the scorers which is best, ``cluster`` assumes the Pod there, and ``service`` writes the binding. All but
``service`` is plain synchronous code over an injected clock.
"""
