"""Training: the schedule, what is done to a chunk of particles, gradient steps, checkpoints; read train.py first."""
