"""What a reconstruction is worth: its classes, maps, poses and conformations against the truth.

`evaluate` reads the three contracts and writes the fourth, one metrics file a run; the other modules compute from
arrays and know no files. Nothing here knows how a method works, and no method may import from here.
"""
