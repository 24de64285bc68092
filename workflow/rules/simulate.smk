# PDB entries, or others' particles, in; a particle stack, and its truth in a folder of its own, out.
rule simulate:
    input:
        files=dataset_files,
        start=after_the_start(),
    output:
        particles=DATASET.particles,
        images=DATASET.images,
        evaluation_list=DATASET.evaluation_list,
        truth=directory(DATASET.truth),
        # Which rows of the user's own file the images are: `hydra-bench select` gives results back in them.
        source=directory(DATASET.source),
    log:
        DATASET.log("simulate"),
    benchmark:
        DATASET.benchmark("simulate")
    conda:
        "../../envs/hydra-bench.yaml"
    threads: settings["threads"]
    resources:
        mem_mb=simulation_mb,
        runtime=growing(240),
    params:
        # A change reruns this dataset and what follows from it.
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
        particles=DATASET.particles,
        images=DATASET.images,
        truth=DATASET.truth,
    output:
        report(
            DATASET.gallery,
            caption="../report/gallery.rst",
            category="Figures",
            subcategory="{dataset}",
            labels={"figure": "gallery"},
        ),
    log:
        DATASET.log("gallery"),
    benchmark:
        DATASET.benchmark("gallery")
    conda:
        "../../envs/hydra-bench.yaml"
    resources:
        mem_mb=2000,
        runtime=30,
    shell:
        "hydra-bench gallery --particles {input.particles:q} --truth {input.truth:q} --out {output:q} > {log:q} 2>&1"
