"""Anybody's particle files: RELION's, CryoSPARC's, cryoDRGN's and image stacks, read into the contracts and given back.

`particle_files` chooses the reader by the file, `give_back` the writer. Nothing is computed from images here, nothing
is known of datasets or methods, and poses and classes in a particle file are not looked at unless they are asked for.
"""
