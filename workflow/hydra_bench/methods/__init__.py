"""Methods: Hydra, the bounds, and what adapters of other programs share; cards say what each may read.

A method sees the stack and, if its card says so, poses or the truth. It never imports the evaluation: training must not
depend on how it is scored. What is special to one outside program lies in workflow/methods/<name>.
"""
