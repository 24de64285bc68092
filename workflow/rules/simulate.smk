# PDB entries, or others' particles, in; a particle stack, and its truth in a folder of its own, out.
rule simulate:
    input:
        files=dataset_files,
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
        mem_mb=simulation_mb,
        runtime=growing(240),
    params:
        definition=dataset_definition,
        # Not Snakemake's `threads`, which --cores lowers: sums in another order give other last digits.
        threads=settings["threads"],
        folders=[str(path) for path in configuration.structure_folders(settings)],
        stack=lambda wildcards, output: Path(output.particles).parent,
    shell:
        "hydra-bench simulate --definition {params.definition:q} --structures {params.folders:q}"
        " --stack {params.stack:q} --truth {output.truth:q} --threads {params.threads} > {log:q} 2>&1"


# What the particles look like; for people, so it may see the truth. No method depends on it.
rule gallery:
    input:
        particles=f"{STACK}/particles.star",
        images=f"{STACK}/particles.mrcs",
        truth=TRUTH,
    output:
        report(
            "results/galleries/{dataset}.png",
            caption="../report/gallery.rst",
            category="Figures",
            subcategory="{dataset}",
            labels={"figure": "gallery"},
        ),
    log:
        f"{LOGS}/gallery/{{dataset}}.log",
    benchmark:
        f"{LOGS}/gallery/{{dataset}}.benchmark.tsv"
    conda:
        "../../envs/hydra-bench.yaml"
    resources:
        mem_mb=2000,
        runtime=30,
    shell:
        "hydra-bench gallery --particles {input.particles:q} --truth {input.truth:q} --out {output:q} > {log:q} 2>&1"
