# Each program has a folder in methods/; adding a method adds a folder. One that has to do with its job's devices, or
# whose inputs are its own, brings a rule; for the others there is this one, which runs the adapter that its card names.
for program in method_cards.programs():
    if method_cards.has_rule(program):

        include: f"../methods/{program}/rule.smk"

    else:

        rule:
            name:
                program
            input:
                **stack_inputs(),
                poses=given_poses,
                # Those that the method's parameters name, where its card says which parameters do.
                files=lambda wildcards: method_cards.named_files(settings["method_definitions"][wildcards.method]),
            output:
                directory(RUN.reconstruction),
            log:
                RUN.log("reconstruct"),
            benchmark:
                RUN.benchmark("reconstruct")
            wildcard_constraints:
                method=methods_of(program),
            conda:
                f"../../envs/{method_cards.environment_name(program)}.yaml"
            threads: settings["threads"]
            resources:
                mem_mb=growing(8000),
                runtime=growing(1440),
                # How it is run, which a profile may set; no parameters, since finished runs stay valid when it changes.
                gpu=0,
                device="auto",
            params:
                definition=method_definition,
                state=state_of,
                poses=poses_option,
                environments=settings["environments_folder"],
                threads=settings["threads"],
            shell:
                "exec hydra-bench launch --state {params.state:q} --out {output:q} --log {log:q} --cpus {threads}"
                " --gpus {resources.gpu} --device {resources.device}"
                " -- hydra-bench reconstruct --definition {params.definition:q} --particles {input.particles:q}"
                " --evaluation-list {input.evaluation_list:q} {params.poses} --seed {wildcards.seed}"
                " --threads {params.threads} --environments {params.environments:q} --state {params.state:q}"
                " --out {output:q}"
