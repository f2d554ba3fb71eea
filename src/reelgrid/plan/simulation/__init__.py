"""Simulation of a GPU fleet: jobs arrive, nodes come and go, the service's own policy decides."""
