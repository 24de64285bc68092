# From all metrics to what is read: tables, figures, one page, and the paper's set.
rule tables:
    input:
        every(RUN.metrics),
    output:
        csv=report(
            RESULTS.tables.table1,
            caption="../report/table1.rst",
            category="Tables",
            labels={"table": "Table 1: methods"},
        ),
        per_class=report(
            RESULTS.tables.table2,
            caption="../report/table2.rst",
            category="Tables",
            labels={"table": "Table 2: per species"},
        ),
        cost=RESULTS.tables.cost,
        markdown=RESULTS.tables.table1_markdown,
        latex=RESULTS.tables.table1_latex,
    log:
        RESULTS.log("tables"),
    benchmark:
        RESULTS.benchmark("tables")
    localrule: True
    conda:
        "../../envs/hydra-bench.yaml"
    params:
        folder=lambda wildcards, output: Path(output.csv).parent,
        nodes="" if settings["report"]["nodes"] else "--hide-nodes",
    shell:
        "hydra-bench tables --metrics {input:q} --out {params.folder:q} {params.nodes} > {log:q} 2>&1"


rule figures:
    input:
        metrics=every(RUN.metrics),
        # Found by their places under results/, and named here so that they are there and up to date.
        aligned=every(RUN.aligned),
        reconstructions=every(RUN.reconstruction),
        truths=expand(DATASET.truth, dataset=settings["datasets"]),
    output:
        report(
            directory(RESULTS.figures),
            patterns=["{dataset}/{figure}.svg"],
            caption="../report/figures.rst",
            category="Figures",
            subcategory="{dataset}",
            labels={"figure": "{figure}", "dataset": "{dataset}"},
        ),
    log:
        RESULTS.log("figures"),
    benchmark:
        RESULTS.benchmark("figures")
    conda:
        "../../envs/hydra-bench.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(60),
    shell:
        "hydra-bench figures --metrics {input.metrics:q} --out {output:q} > {log:q} 2>&1"


rule page:
    input:
        metrics=every(RUN.metrics),
        # The maps and particles that the page shows; found by their places, as above.
        aligned=every(RUN.aligned),
        reconstructions=every(RUN.reconstruction),
        truths=expand(DATASET.truth, dataset=settings["datasets"]),
        stacks=expand(DATASET.images, dataset=settings["datasets"]),
        tables=rules.tables.output,
        figures=rules.figures.output,
        galleries=expand(DATASET.gallery, dataset=settings["datasets"]),
    output:
        report(
            RESULTS.page,
            caption="../report/page.rst",
            category="Report",
            labels={"page": "All results on one page"},
        ),
    log:
        RESULTS.log("page"),
    benchmark:
        RESULTS.benchmark("page")
    conda:
        "../../envs/hydra-bench.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        tables=lambda wildcards, input: Path(input.tables[0]).parent,
        nodes="" if settings["report"]["nodes"] else "--hide-nodes",
    shell:
        "hydra-bench page --metrics {input.metrics:q} --tables {params.tables:q}"
        " --figures {input.figures:q} --out {output:q} {params.nodes} > {log:q} 2>&1"


# The paper's figures, one file a dataset: fig1 is paper/<dataset>/fig1.svg.
rule paper_figure:
    input:
        **runs_of_a_dataset(),
    output:
        svg=report(
            DATASET.figure("{figure}", "svg"),
            caption="../report/paper.rst",
            category="Paper",
            subcategory="{dataset}",
            labels={"figure": "{figure}", "dataset": "{dataset}"},
        ),
        png=DATASET.figure("{figure}", "png"),
        caption=DATASET.figure("{figure}", "txt"),
    log:
        DATASET.log("paper", "{figure}"),
    benchmark:
        DATASET.benchmark("paper", "{figure}")
    wildcard_constraints:
        figure=r"fig\d+",
    conda:
        "../../envs/hydra-bench.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        main_method=f"--main-method {shlex.quote(MAIN_METHOD)}" if MAIN_METHOD else "",
        about=lambda wildcards: " ".join(FIGURES[wildcards.figure].values()),
        name=lambda wildcards: wildcards.figure,
        out=lambda wildcards, output: Path(output.svg).with_suffix(""),
    shell:
        "hydra-bench figure {params.name} --dataset {wildcards.dataset:q} --metrics {input.metrics:q}"
        " {params.main_method} --out {params.out:q} > {log:q} 2>&1"


# The supplement's figures, with names of their own, in one folder a dataset.
use rule paper_figure as supplement with:
    output:
        report(
            directory(DATASET.supplement),
            patterns=["{figure}.svg"],
            caption="../report/supplement.rst",
            category="Paper",
            subcategory="{dataset}",
            labels={"figure": "{figure}", "dataset": "{dataset}"},
        ),
    log:
        DATASET.log("paper", "supplement"),
    benchmark:
        DATASET.benchmark("paper", "supplement")
    params:
        about=FIGURES[SUPPLEMENT],
        name=SUPPLEMENT,
        out=lambda wildcards, output: output[0],


# One target each: `snakemake fig2` makes what is missing and draws figure 2 of every dataset.
rule table1:
    input:
        rules.tables.output,
    localrule: True


for figure in FIGURES:

    rule:
        name:
            figure
        input:
            drawn_for_datasets(figure),
        localrule: True


rule paper:
    input:
        rules.table1.input,
        [drawn_for_datasets(figure) for figure in FIGURES],
    localrule: True
