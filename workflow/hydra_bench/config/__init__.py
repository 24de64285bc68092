"""The configuration: read, checked, filled in; which files it names; what each run depends on.

What the Snakefiles read lies here, so its modules import nothing that takes long: kinds of dataset and cards of methods
say what they need, and are asked for more when a run starts. Nothing here runs a method or reads results.
"""
