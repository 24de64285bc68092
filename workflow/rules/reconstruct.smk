# Each program has a folder in methods/ with a rule of its own; adding a method adds a folder.
for program in configuration.programs():

    include: f"../methods/{program}/rule.smk"
