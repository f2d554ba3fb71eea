"""Settings of every test: hypothesis has no time limits, which a busy machine would exceed."""

from hypothesis import HealthCheck, settings

settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")
