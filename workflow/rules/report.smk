# From all metrics to what is read: tables, figures and one page.
rule tables:
    input:
        every(f"{METRICS}.json"),
    output:
        csv=report(
            "results/tables/table1.csv",
            caption="../report/table1.rst",
            category="Tables",
        ),
        per_class="results/tables/table2.csv",
        markdown="results/tables/table1.md",
        latex="results/tables/table1.tex",
    log:
        f"{LOGS}/tables.log",
    benchmark:
        f"{LOGS}/tables.benchmark.tsv"
    localrule: True
    conda:
        "../../envs/hydra-bench.yaml"
    params:
        folder=lambda wildcards, output: Path(output.csv).parent,
    shell:
        "hydra-bench tables --metrics {input:q} --out {params.folder:q} > {log:q} 2>&1"


rule figures:
    input:
        metrics=every(f"{METRICS}.json"),
        # Found by their places under results/, and named here so that they are there and up to date.
        aligned=every(f"{METRICS}_aligned"),
        reconstructions=every(RECONSTRUCTION),
        truths=expand(TRUTH, dataset=settings["datasets"]),
    output:
        report(
            directory("results/figures"),
            patterns=["{dataset}/{figure}.svg"],
            caption="../report/figures.rst",
            category="Figures",
            subcategory="{dataset}",
            labels={"figure": "{figure}"},
        ),
    log:
        f"{LOGS}/figures.log",
    benchmark:
        f"{LOGS}/figures.benchmark.tsv"
    conda:
        "../../envs/hydra-bench.yaml"
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        results=lambda wildcards, output: Path(output[0]).parent,
    shell:
        "hydra-bench figures --metrics {input.metrics:q} --results {params.results:q}"
        " --out {output:q} > {log:q} 2>&1"


rule page:
    input:
        metrics=every(f"{METRICS}.json"),
        tables=rules.tables.output,
        figures=rules.figures.output,
        galleries=expand(
            "results/galleries/{dataset}.png", dataset=settings["datasets"]
        ),
    output:
        report(
            "results/report/index.html",
            caption="../report/page.rst",
            category="Report",
        ),
    log:
        f"{LOGS}/page.log",
    benchmark:
        f"{LOGS}/page.benchmark.tsv"
    localrule: True
    conda:
        "../../envs/hydra-bench.yaml"
    params:
        tables=lambda wildcards, input: Path(input.tables[0]).parent,
    shell:
        "hydra-bench page --metrics {input.metrics:q} --tables {params.tables:q}"
        " --figures {input.figures:q} --out {output:q} > {log:q} 2>&1"
