# Its inputs are the stack and nothing else. The code that scores it is not among them either, so that no
# change of the evaluation reruns hours of training.
rule hydra:
    input:
        **stack_inputs(),
    output:
        directory(RECONSTRUCTION),
    log:
        f"{LOGS}/reconstruct/{{dataset}}/{{method}}/{{seed}}.log",
    benchmark:
        f"{LOGS}/reconstruct/{{dataset}}/{{method}}/{{seed}}.benchmark.tsv"
    wildcard_constraints:
        method=methods_of("hydra"),
    conda:
        "../../../envs/hydra-bench.yaml"
    threads: settings["threads"]
    resources:
        mem_mb=4000,
        runtime=1440,
    params:
        definition=method_definition,
        checkpoint=checkpoint_of,
        # Not Snakemake's `threads`, which --cores lowers: results must not depend on the machine.
        threads=settings["threads"],
    shell:
        # stderr stays the terminal's, for the progress bar; a pipe would silence it.
        "hydra-bench hydra --definition {params.definition:q} --particles {input.particles:q}"
        " --evaluation-list {input.evaluation_list:q} --seed {wildcards.seed} --threads {params.threads}"
        " --checkpoint {params.checkpoint:q} --resume --out {output:q} > {log:q}"
