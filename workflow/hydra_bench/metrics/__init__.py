"""What a reconstruction is worth: classes, maps, poses and conformations against the truth.

clustering, alignment, fsc, pose and conformation know no files; evaluate reads the three contracts and
writes one JSON a run.
"""
