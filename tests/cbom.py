#!/usr/bin/env python3
"""Validates CycloneDX 1.6 documents against the official JSON schema, as the
package cyclonedx-python-lib carries it: tests/cbom.py FILE...

Ends with 0 when all are valid, 1 when one is not, 77 without the package."""
import sys

try:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    validator = JsonStrictValidator(SchemaVersion.V1_6)
    # Without a schema language at hand it would accept everything.
    if validator.validate_str('{"bomFormat": "CycloneDX"}') is None:
        sys.exit("the validator accepts what is no bill of materials")
except ImportError as missing:
    print(missing, file=sys.stderr)
    sys.exit(77)

bad = 0
for path in sys.argv[1:]:
    with open(path, encoding="utf-8") as file:
        error = validator.validate_str(file.read())
    if error is not None:
        print(f"{path}: {str(error)[:2000]}", file=sys.stderr)
        bad = 1
sys.exit(bad)
