"""Hydra: a mixture of K neural fields; poses, classes and conformations found together, ab initio.

Levy, Raghu, Shustin, Peng, Li, Clarke, Wetzstein, Zhong, Mixture of neural fields for heterogeneous
reconstruction in cryo-EM, NeurIPS 2024 (arXiv 2412.09420). Written from that description.

settings; data (images as coefficients) -> model (what is learned) -> fit (training: read fit/train.py) -> output;
run.py goes from a stack to a reconstruction. How it is scored is not known here.
"""
