#!/bin/bash
# Makes .venv with this project and the given extras, once: venv.sh EXTRA...
# A stamp named after what decides the result tells whether there is anything to do.
set -euo pipefail
cd "$(dirname "$0")/.."

extras=$(IFS=,; echo "$*")
python=/usr/bin/python3  # Debian's is built with optimisation
digest=$("$python" -V | cat - pyproject.toml constraints.txt | sha256sum | cut -c1-16)
stamp=.venv/stamp-$extras-$digest
# Whoever has the developers' packages has those of the lab.
[ -e "$stamp" ] || [ -e ".venv/stamp-$extras,dev-$digest" ] && exit 0

[ -x .venv/bin/python ] || "$python" -m venv .venv
echo "Installing the Python packages of '$extras' into .venv"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! .venv/bin/pip install --quiet --disable-pip-version-check \
    --constraint constraints.txt --editable ".[$extras]" > "$log" 2>&1; then
    tail -20 "$log" >&2
    echo "pip could not install the packages; the lines above tell why" >&2
    exit 1
fi
# The first start of every program is quick too, and where Python may not write beside its sources.
.venv/bin/python -m compileall -q src
rm -f .venv/stamp-"$extras"-*
touch "$stamp"
echo "Python packages installed in $SECONDS s"
