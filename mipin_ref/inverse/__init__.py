"""MIP-IN itself: inverses fitted, applied, saved (paper, Algorithm 1).

Rooms, each of which knows only those before it: plan, descent, passes, cluster, common; then fit, inverse, load.
"""
