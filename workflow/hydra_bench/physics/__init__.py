"""The formulas of image formation, each once: Fourier transforms and shifts, rotations, CTF, projections, preparation.

Functions of arrays and tensors with their units in their names. No files, no settings, no learning: whoever reads,
trains or scores calls them.
"""
