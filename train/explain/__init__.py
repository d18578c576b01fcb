"""Why a model predicts a class: occlusion, saliency maps, attributions, 2-D embeddings.

How good the predictions are is a question for `evaluation`.
"""
