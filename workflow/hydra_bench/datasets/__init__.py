"""Datasets of each kind, made into the stack and the truth of the contracts: simulated, experimental, CryoBench's.

`kinds` lists the kinds; the module `kind` of each is light and answers what the workflow asks, and imports what it
takes to check, describe and make a dataset when that is to be done. Nothing here knows of methods, or of how they are scored.
"""
