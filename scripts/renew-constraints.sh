#!/bin/sh
# Writes constraints.txt anew: for each package of the tests and checks the newest version that fits, by Python version.
#
# Usage: renew-constraints.sh        Needs uv ($UV); make constraints brings it.
set -eu
UV=${UV:-uv}
cd "$(dirname "$0")/.."

# uv passes over a package's upper bound on Python, pip does not: 1.3 of this one is for 3.10 only.
"$UV" pip compile --quiet --upgrade --universal --python-version 3.10 --no-header --no-annotate --no-emit-index-url \
    --no-emit-package edge-emotion --group test --group check --group arm64 --output-file constraints.txt - <<EOF
-e .
backports.strenum<1.3; python_version >= '3.11'
EOF
