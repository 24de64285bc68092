# A bound, shown apart from the methods. Its rule, and those of other bounds, which are made from it, have the truth
# among their inputs; no other rule of a method has.
rule backprojection:
    input:
        **stack_inputs(),
        truth=DATASET.truth,
    output:
        directory(RUN.reconstruction),
    log:
        RUN.log("reconstruct"),
    benchmark:
        RUN.benchmark("reconstruct")
    wildcard_constraints:
        method=methods_of("backprojection"),
    conda:
        "../../../envs/hydra-bench.yaml"
    threads: settings["threads"]
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        definition=method_definition,
        state=state_of,
        threads=settings["threads"],
    shell:
        "exec hydra-bench launch --state {params.state:q} --out {output:q} --log {log:q}"
        " -- hydra-bench bound --definition {params.definition:q} --particles {input.particles:q}"
        " --evaluation-list {input.evaluation_list:q} --truth {input.truth:q} --seed {wildcards.seed}"
        " --threads {params.threads} --out {output:q}"
