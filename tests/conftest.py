"""One thread for the small tensors of tests, and no spinning: more of either costs time where cores are shared."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# decord publishes its codec libraries to all that is loaded after it: PyAV, loaded later, could no longer encode VP9.
import av  # noqa: F401
import torch
from hypothesis import settings

torch.set_num_threads(1)

# No deadline for one example: on a shared machine a first call may take a second for no fault of its own.
settings.register_profile("shared", deadline=None)
settings.load_profile("shared")
