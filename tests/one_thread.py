"""A test process takes one thread, and so do those that it starts.

Threads of OpenBLAS and OpenMP wait for each other by spinning: on a machine whose cores are taken, by the other worker
of `pytest -n 2` say, small products and small steps of training cost many times more. Both libraries read these
variables when they are loaded; what is set already stays, and tests of several threads set their number themselves.
"""

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
