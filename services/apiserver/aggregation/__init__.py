"""API aggregation: groups that other servers serve, behind this one's door.

An APIService says who serves a group and version. Those that this server serves itself are written down by it
(`registrations`); for the others it checks whether their server answers (`availability`), passes requests on to it
(`passing`) and shows their resources in discovery (`aggregator`).
"""
