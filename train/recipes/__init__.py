"""What is trained: the fields of a recipe with the reason of each default, and the named recipes.

No field is read here; networks live in `models`, the training loop in `training`.
"""
