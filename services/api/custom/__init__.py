"""Custom resources: what a CustomResourceDefinition says about its objects, and what follows for each of them.

A definition becomes rows of the table of kinds (`versions`). Its schema is compiled once (`structural`); objects
are pruned, defaulted, checked and judged by CEL rules along it. Everything here is pure.
"""
