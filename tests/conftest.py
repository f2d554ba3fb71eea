"""Settings of every test: those of a main program, without time limits that a busy machine exceeds."""

from hypothesis import HealthCheck, settings

from reelgrid.startup import prepare_process

prepare_process()

settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")
