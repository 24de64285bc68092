# The door: `snakemake` at the root. A bare `include:` here would make the first rule that it brings in the
# default target of nothing; a module keeps the default target of workflow/Snakefile.
configfile: "config/config.yaml"


include: "workflow/rules/hooks.smk"


module hydra_bench:
    snakefile:
        "workflow/Snakefile"
    config:
        config


use rule * from hydra_bench
