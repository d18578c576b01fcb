"""What a model looks at: occlusion, saliency maps, attributions, 2-D embeddings.

Scores live in `evaluation`.
"""
