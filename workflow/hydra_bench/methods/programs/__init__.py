"""Methods that are not Hydra: adapters of other programs, and the bounds."""
