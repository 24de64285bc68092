"""How a method's job is run: its devices, the account of its attempts, SLURM, and what is checked before it starts.

Methods know nothing of this. What a run depends on, and so where its state lies, is in config.identity.
"""
