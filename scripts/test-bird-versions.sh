#!/bin/bash
# Runs the tests of BGP with every version of BIRD that Debian's archive has; see bird-versions.sh.
# Arguments go to pytest in place of the default selection. Takes a quarter of an hour a version.
set -euo pipefail
cd "$(dirname "$0")/.."

cache=${CALICO_BIRD_VERSIONS:-$HOME/.cache/calico-bird-versions}
[ $# -gt 0 ] || set -- tests/unit/bgp tests/bgp
CALICO_OLDER_BIRD=$(command -v bird)
export CALICO_OLDER_BIRD
failed=()
while read -r home; do
    echo "== $(basename "$home")"
    PATH=$home:$PATH .venv/bin/pytest -q "$@" || failed+=("$(basename "$home")")
done < <(scripts/bird-versions.sh "$cache")
if [ ${#failed[@]} -gt 0 ]; then
    echo "Failed with: ${failed[*]}" >&2
    exit 1
fi
