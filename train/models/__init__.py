"""Networks, their layers and optimizers.

Input: (N, S, S, 1) uint8 images; output: (N, K) class probabilities. How batches are made lives in
`data`; how weights are trained and saved lives in `training`.
"""
