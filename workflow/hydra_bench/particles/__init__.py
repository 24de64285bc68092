"""Anybody's particle files: RELION's, CryoSPARC's, cryoDRGN's and bare image stacks, read into the contracts.

`particle_files` chooses the reader by the file. Nothing is computed from images here, nothing is known of datasets or
methods, and poses and classes in a particle file are not looked at unless they are asked for.
"""
