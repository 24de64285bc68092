"""The file contracts between a dataset, a method and the evaluation: what each file holds, its reader and its writer.

The modules' docstrings are the reference of the formats. Nothing here reads files of other programs, makes data or
computes results; what a file lacks is refused in one line that names it.
"""
