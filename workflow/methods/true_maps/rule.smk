# A bound; see backprojection/rule.smk.
use rule backprojection as true_maps with:
    input:
        **stack_inputs(),
        truth=DATASET.truth,
    wildcard_constraints:
        method=methods_of("true_maps"),
