"""In a folder of PYTHONPATH, so that every Python records its imports; see imports_recorder.py."""

from imports_recorder import record

record()
