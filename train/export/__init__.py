"""A trained network in other tools' formats (Keras, TFLite, ONNX), checked against the original.

Exported datasets are in `curate/export`.
"""
