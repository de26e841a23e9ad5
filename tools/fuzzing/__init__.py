"""The parts of tools/fuzz.py: how content is mutated, what is asked of it, and the workers that ask."""
