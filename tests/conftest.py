"""For all tests."""

from hypothesis import settings

settings.register_profile("any machine", deadline=None)  # how fast a machine is decides no test
settings.load_profile("any machine")
