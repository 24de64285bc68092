# PDB entries in; a particle stack, and its truth in a folder of its own, out.
rule simulate:
    input:
        structures=structure_files,
    output:
        particles=f"{STACK}/particles.star",
        images=f"{STACK}/particles.mrcs",
        evaluation_list=f"{STACK}/evaluation_particles.txt",
        truth=directory(TRUTH),
    log:
        f"{LOGS}/simulate/{{dataset}}.log",
    benchmark:
        f"{LOGS}/simulate/{{dataset}}.benchmark.tsv"
    conda:
        "../../envs/hydra-bench.yaml"
    threads: settings["threads"]
    resources:
        mem_mb=growing(2500),
        runtime=growing(240),
    params:
        definition=dataset_definition,
        # Not Snakemake's `threads`, which --cores lowers: sums in another order give other last digits.
        threads=settings["threads"],
        folder=settings["structures_folder"],
        stack=lambda wildcards, output: Path(output.particles).parent,
    shell:
        "hydra-bench simulate --definition {params.definition:q} --structures {params.folder:q}"
        " --stack {params.stack:q} --truth {output.truth:q} --threads {params.threads} > {log:q} 2>&1"
