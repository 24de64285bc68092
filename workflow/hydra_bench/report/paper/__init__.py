"""The paper's figures, each a module of its own, drawn from whatever runs of a dataset there are."""
