"""Hostile input for both doors of an API server in a process of its own, from a seed.

`subject` starts the server and looks at it from outside (memory, sockets, log), `mutation` spoils what is valid, and
each other module is a phase: a function that goes on until a deadline and tells a `tally.Tally` what came back.
"""
