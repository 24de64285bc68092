"""From atoms to images, in this order.

entries, fetching  where the file of a structure lies, and how it comes there
structures         the atoms of a species in it
motion             how they move: a part that turns or slides, or the way between given states
species            a species with its states, and how likely each is
density            the map of a state, of atoms or a given one
imaging            the microscope: what is drawn for each particle, its projection, noise
simulate           all of it: stack and truth
inspection         what a definition's files hold, before anything is made
"""
