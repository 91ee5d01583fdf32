"""One thread for the small tensors of tests: more of them cost time where cores are shared."""

import torch

torch.set_num_threads(1)
