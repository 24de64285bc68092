"""What adapters of other programs share: the task that they are given, and how programs are run, timed and ended.

Nothing here knows a program by name; that is in workflow/methods/<name>.
"""
