"""What is possible on a dataset: classes found or given where poses are known, by back-projection.

They use the truth, are shown apart from the methods, and share nothing with Hydra.
"""
