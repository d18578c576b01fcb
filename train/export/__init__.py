"""A trained network in the formats of other tools (Keras, TFLite, ONNX), checked against the original.

Exported datasets live in `curate/export`.
"""
