"""What is trained: the fields of a recipe with the reason of each default, and the named recipes.

The networks are in `models`, the training loop is in `training`.
"""
