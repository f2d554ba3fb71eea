"""Settings of every test: those of a main, and no time limits that a busy machine would exceed."""

from hypothesis import HealthCheck, settings

from reelgrid.startup import prepare_process

prepare_process()

settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")
