# A reconstruction against its truth. No method's rule depends on anything here.
rule evaluate:
    input:
        particles=DATASET.particles,
        images=DATASET.images,
        truth=DATASET.truth,
        reconstruction=RUN.reconstruction,
    output:
        metrics=RUN.metrics,
        aligned=directory(RUN.aligned),
    log:
        RUN.log("evaluate"),
    benchmark:
        RUN.benchmark("evaluate")
    conda:
        "../../envs/hydra-bench.yaml"
    threads: 1  # the alignment is many small operations; two at a time beat two threads
    resources:
        mem_mb=growing(4000),
        runtime=growing(120),
    params:
        definition=evaluation_definition,
        label=lambda wildcards: settings["method_definitions"][wildcards.method]["label"],
        state=state_of,
    shell:
        # A run that is evaluated is known to Snakemake to be finished, and its files were read back whole: only now its
        # state goes.
        "hydra-bench evaluate --threads {threads} --definition {params.definition:q} --dataset {wildcards.dataset:q}"
        " --method {wildcards.method:q} --label {params.label:q} --particles {input.particles:q}"
        " --truth {input.truth:q} --reconstruction {input.reconstruction:q}"
        " --out {output.metrics:q} --aligned {output.aligned:q} > {log:q} 2>&1"
        " && rm -rf {params.state:q}"
