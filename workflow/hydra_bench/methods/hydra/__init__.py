"""Hydra: a mixture of K neural fields; poses, classes and conformations found together, ab initio.

Levy, Raghu, Shustin, Peng, Li, Clarke, Wetzstein, Zhong, Mixture of neural fields for heterogeneous
reconstruction in cryo-EM, NeurIPS 2024 (arXiv 2412.09420). Written from that description.

frequencies -> images, field -> rendering -> pose_search;  tables, mixture -> learning -> train -> output
"""
