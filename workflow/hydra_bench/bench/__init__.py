"""How fast Hydra is: cases defined in config/bench.yaml, measured, summed up and set against bars.

definitions, data -> training, search, processes, memory_worker -> cases -> summary -> results
Nothing else uses what is measured here: no result of a benchmark of methods comes from this room.
"""
