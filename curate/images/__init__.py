"""From files to pixels: decoding, hashing, thumbnails and HOG features of one image at a time.

What compares two images lives in `duplicates`; what reads a dataset's folders lives in `sources`.
"""
