#!/bin/bash
# Makes .venv with this project and the given extras, once: venv.sh EXTRA...
# A stamp named after what decides the result tells which extras are there. What is there already
# stays: extras are added to it. VENV names another directory, and CONSTRAINTS a file whose versions
# precede those of constraints.txt.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=${VENV:-.venv}
files=(${CONSTRAINTS:+"$CONSTRAINTS"} constraints.txt)
python=/usr/bin/python3  # Debian's is built with optimisation
digest=$("$python" -V | cat - pyproject.toml "${files[@]}" | sha256sum | cut -c1-16)
stamp=$venv/stamp-$digest
present=$(cat "$stamp" 2>/dev/null || true)
missing=()
for extra in "$@"; do
    case " $present " in *" $extra "*) ;; *) missing+=("$extra") ;; esac
done
[ ${#missing[@]} -eq 0 ] && exit 0
# What an older stamp tells is brought up to date as well.
wanted=$( (cat "$venv"/stamp-* 2>/dev/null || true; echo "$*") | tr ' ' '\n' | sort -u | xargs)
extras=${wanted// /,}

[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
echo "Installing the Python packages of '$extras' into $venv"
log=$(mktemp)
versions=$(mktemp)
trap 'rm -f "$log" "$versions"' EXIT
awk -F== '!/^#/ && !seen[tolower($1)]++' "${files[@]}" > "$versions"
if ! "$venv/bin/pip" install --quiet --disable-pip-version-check \
    --constraint "$versions" --editable ".[$extras]" > "$log" 2>&1; then
    tail -20 "$log" >&2
    echo "pip could not install the packages; the lines above tell why" >&2
    exit 1
fi
# The first start of every program is quick too, and where Python may not write beside its sources.
"$venv/bin/python" -m compileall -q src
rm -f "$venv"/stamp-*
echo "$wanted" > "$stamp"
echo "Python packages installed in $SECONDS s"
