# Its inputs are the stack, and poses if it is given some. The code that scores it is not among them either, so that no
# change of the evaluation reruns hours of training.
rule hydra:
    input:
        **stack_inputs(),
        poses=given_poses,
    output:
        directory(RUN.reconstruction),
    log:
        RUN.log("reconstruct"),
    benchmark:
        RUN.benchmark("reconstruct")
    wildcard_constraints:
        method=methods_of("hydra"),
    # The longest jobs first: the short ones fill the cores beside them.
    priority: 1
    conda:
        "../../../envs/hydra-bench.yaml"
    threads: settings["threads"]
    resources:
        mem_mb=growing(4000),
        runtime=growing(1440),
        # How it is run, which a profile may set; no parameters, since finished runs stay valid when it changes.
        gpu=0,
        nodes=1,
        device="auto",
        checkpoint_minutes="3",
    params:
        definition=method_definition,
        state=state_of,
        poses=poses_option,
        # Not Snakemake's `threads`, which --cores lowers: results must not depend on the machine.
        threads=settings["threads"],
    shell:
        "exec hydra-bench launch --state {params.state:q} --out {output:q} --log {log:q} --cpus {threads}"
        " --gpus {resources.gpu} --nodes {resources.nodes} --device {resources.device}"
        " -- hydra-bench hydra --definition {params.definition:q} --particles {input.particles:q}"
        " --evaluation-list {input.evaluation_list:q} {params.poses} --seed {wildcards.seed}"
        " --threads {params.threads}"
        " --checkpoint {params.state:q}/hydra.pt --checkpoint-minutes {resources.checkpoint_minutes}"
        " --resume --keep-checkpoint --out {output:q}"
