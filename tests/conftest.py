"""What every test shares."""

from __future__ import annotations

import os

# The networks here are tiny: a second thread costs them more than it gives, and far more on a busy machine. Set before
# torch is imported, and inherited by the processes that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")
