"""How fast Hydra is: cases defined in config/bench.yaml, measured, summed up and set against bars.

definitions, data, summary, machine -> training, processes -> cases -> results -> command
"""
