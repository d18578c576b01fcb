"""From manifest rows to batches: images, targets, masks, augmentation and TTA views.

This room contains no network. `curate.images` decodes the thumbnails.
"""
