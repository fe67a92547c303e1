"""Custom resources in a server: their kinds follow the definitions in the store, whoever wrote them.

Every API server does all of this. What is written (a definition's status, the deletion of its objects) is decided
anew from what is there, so it does not matter which of them is first, or how often it is done.
"""
