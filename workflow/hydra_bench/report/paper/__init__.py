"""The paper's figures, each drawn from whatever runs of a dataset there are: fig1 … fig4 and the supplement."""
