"""Datasets of each kind, made into the stack and the truth of the contracts: simulated, experimental, CryoBench's.

`kinds` lists the kinds. The module `kind` of each is light and answers what the workflow asks; what checks, describes
and makes a dataset is imported when that is done. Nothing here knows of methods, or of how they are scored.
"""
