"""From atoms to images, in this order.

entries, fetching      where the file of a structure lies, and how it comes there
structures             the atoms of a species in it
motion, superposition  how they move: a part that turns or slides, or the way between given states
species                a species with its states, and how likely each is
density, volume_source the map of a state, of atoms or a given one
imaging                the microscope, and what is drawn for each particle
images                 projections of maps, how much they vary, noise
simulate               all of it: stack and truth
"""
