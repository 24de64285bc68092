# Before the first job: is everything there that the jobs need? Where hooks.smk cannot ask that.
if not HOOKED:

    rule start:
        output:
            RESULTS.configuration,
        log:
            RESULTS.log("start"),
        localrule: True
        conda:
            "../../envs/hydra-bench.yaml"
        params:
            configuration=lambda wildcards: identity.in_a_file(json.dumps(config)),
        shell:
            # What is wrong is said here, too, and not only in the log.
            "hydra-bench start --configuration {params.configuration:q} 2>&1 | tee {log:q} >&2"
