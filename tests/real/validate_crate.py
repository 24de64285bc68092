"""Run by the Python of build/envs/roc-validator: whether an archive is an RO-Crate of a profile, without a network.

Arguments: the archive, the context file that the rocrate library ships, the profile. Prints each issue; exits with 1 if
there is one. Crates name their context by an address. The file is the context of version 1.3, and stands in for that of
1.1, whose terms of Bioschemas have no `terms/` in their addresses.
"""

import json
import sys
from pathlib import Path

import rdflib.plugins.shared.jsonld.context as jsonld
from rocrate_validator import models, services
from rocrate_validator.utils.http import HttpRequester

archive, context_file, profile = sys.argv[1:]
context = json.loads(Path(context_file).read_text().replace("https://bioschemas.org/terms/", "https://bioschemas.org/"))
plain = jsonld.source_to_json


class Answer:
    status_code, headers = 200, {"Content-Type": "application/ld+json"}

    def json(self):
        return context


def source_to_json(source, *arguments, **options):
    of_crates = str(source).startswith("https://w3id.org/ro/crate/")
    return (context, None) if of_crates else plain(source, *arguments, **options)


HttpRequester.get = lambda self, url, **options: Answer()
jsonld.source_to_json = source_to_json
settings = services.ValidationSettings(
    rocrate_uri=archive,
    profile_identifier=profile,
    requirement_severity=models.Severity.REQUIRED,
    offline=True,
)
result = services.validate(settings)
for issue in result.get_issues():
    print(issue.severity.name, issue.check.identifier, issue.message)
sys.exit(0 if result.passed() else 1)
