"""The microservices of Navarch; each talks to the others only through ``protos/``."""
