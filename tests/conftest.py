"""One thread for the small tensors of tests, and no spinning: more of either costs time where cores are shared."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch

torch.set_num_threads(1)
