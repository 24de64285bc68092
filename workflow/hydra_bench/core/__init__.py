"""What every room stands on: errors, files (text, JSON, YAML, MRC, STAR), schemas, threads, names of array types.

Nothing here knows of particles, images' physics, methods or reports, and nothing here imports another room.
"""
