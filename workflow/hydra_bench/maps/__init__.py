"""Maps by themselves: resampled, aligned, masked, compared by Fourier shell correlation.

Arrays in, arrays and numbers out. Nothing here knows files, particles or methods, so that bounds and evaluation, which
must not know each other, treat maps alike.
"""
