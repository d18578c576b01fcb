"""From manifest rows to batches: images, targets, masks, augmentation and TTA views.

No network is known here. Thumbnails are decoded by `curate.images`.
"""
