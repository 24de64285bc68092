"""How fast Hydra is: cases defined in config/bench.yaml, measured, summed up and set against bars.

definitions, data, machine -> training, processes, memory_worker -> cases -> summary -> results
"""
