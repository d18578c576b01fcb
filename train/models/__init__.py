"""Networks, their layers and optimizers: (N, S, S, 1) uint8 images in, (N, K) class probabilities out.

How batches are made lives in `data`; how weights are trained and saved in `training`.
"""
