"""The command line: main, and one file a command, with its options beside what it does.

Each call is one into the package below. Nothing of the package imports from here, and what is heavy is imported when a
command runs, so that help is quick.
"""
