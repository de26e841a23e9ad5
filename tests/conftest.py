"""Hypothesis for all tests: how long an example takes is the machine's business, and never a failure."""

from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
