# The one rule beside `evaluate` that has the truth among its inputs: a bound, shown apart from the methods.
rule backprojection:
    input:
        **stack_inputs(),
        truth=TRUTH,
    output:
        directory(RECONSTRUCTION),
    log:
        f"{LOGS}/reconstruct/{{dataset}}/{{method}}/{{seed}}.log",
    benchmark:
        f"{LOGS}/reconstruct/{{dataset}}/{{method}}/{{seed}}.benchmark.tsv"
    wildcard_constraints:
        method=methods_of("backprojection"),
    conda:
        "../../../envs/hydra-bench.yaml"
    threads: settings["threads"]
    resources:
        mem_mb=4000,
        runtime=240,
    params:
        definition=method_definition,
        threads=settings["threads"],
    shell:
        "hydra-bench backproject --definition {params.definition:q} --particles {input.particles:q}"
        " --evaluation-list {input.evaluation_list:q} --truth {input.truth:q} --seed {wildcards.seed}"
        " --threads {params.threads} --out {output:q} > {log:q} 2>&1"
