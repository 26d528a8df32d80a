"""For all tests."""

import signal

from hypothesis import settings

settings.register_profile("any machine", deadline=None)  # how fast a machine is decides no test
settings.load_profile("any machine")

# Shells start what runs in the background with Ctrl-C ignored, and children inherit that: some tests press it
signal.signal(signal.SIGINT, signal.default_int_handler)
