"""A fleet in simulated time: jobs arrive, nodes come and go, the service's own policy decides."""
