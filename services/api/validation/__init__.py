"""The rules of the Kubernetes API: what an object must be to be stored.

Checks are generators of FieldError, one for each thing that is wrong; an empty one means valid. Paths,
types and wording are those of Kubernetes, since tools and people know them. Checks run after defaulting.
"""
