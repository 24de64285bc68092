# A bound; see backprojection/rule.smk.
use rule backprojection as class_bound with:
    input:
        **stack_inputs(),
        truth=DATASET.truth,
    wildcard_constraints:
        method=methods_of("class_bound"),
