"""Troubles of real images put onto a stack that is there: a new stack and STAR file beside, and a record of both.

What is in an image cannot be taken out again, and noise least of all. So what would make a particle fainter puts noise
back, of the spectrum that the stack's own has outside the particles: an image of contrast c < 1 becomes c times itself
and noise of power 1 - c²; two images that are laid over each other are divided by √2. The noise of every image stays
what it was, and its particle is the fainter for it. All is in units of each image's own noise, its deviation there.

What cannot be had of an image is not there: more contrast than it has; a particle broken in half, since in a projection
its halves lie over each other, which is refused.
"""
