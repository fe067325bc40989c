"""Lints many certificates in one process, as pkilint's lint_pkix_cert does one: 0.6 s of it is its start.

Reads paths of PEM files from stdin, one a line. Writes a JSON object for each file to stdout, in their order:
{"path": ..., "findings": [[severity, code, message], ...]}.
"""

import json
import sys

from pkilint import loader
from pkilint.pkix import certificate, extension, general_name, name

# pkilint judges URIs by the `validators` package, which knows nine schemes (its own comment: "More schemes will
# be considered later") and so finds every SPIFFE ID invalid. It is asked about the rest of the URI as https.
validate_value = general_name.UriSyntaxValidator.validate_value


class Renamed:
    def __init__(self, text):
        self.pdu = text


def validate_spiffe_id(self, node):
    text = str(node.pdu)
    if text.startswith("spiffe://"):
        return validate_value(self, Renamed("https://" + text.removeprefix("spiffe://")))
    return validate_value(self, node)


general_name.UriSyntaxValidator.validate_value = validate_spiffe_id

# The same container as pkilint/bin/lint_pkix_cert.py.
validator = certificate.create_pkix_certificate_validator_container(
    certificate.create_decoding_validators(name.ATTRIBUTE_TYPE_MAPPINGS, extension.EXTENSION_MAPPINGS),
    [
        certificate.create_issuer_validator_container([]),
        certificate.create_validity_validator_container(),
        certificate.create_subject_validator_container([]),
        certificate.create_extensions_validator_container([]),
        certificate.create_spki_validator_container([]),
    ],
)

for line in sys.stdin:
    path = line.strip()
    with open(path, "rb") as file:
        document = loader.RFC5280CertificateDocumentLoader().load_pem_file(file, path)
    findings = [
        [description.finding.severity.name, description.finding.code, description.message]
        for result in validator.validate(document.root)
        for description in result.finding_descriptions
    ]
    print(json.dumps({"path": path, "findings": findings}))
