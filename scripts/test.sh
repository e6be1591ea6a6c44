#!/bin/bash
# Runs everything and ends with one summary: test.sh [DIRECTORY...]
# Cheap checks come first, and a failure does not hide what comes after it.
set -uo pipefail
cd "$(dirname "$0")/.."

directories=("$@")
[ $# -gt 0 ] || directories=(
    tests/unit tests/etcd tests/kernel tests/bgp tests/dhcp tests/neutron tests/scenario
)
bin=.venv/bin
failed=()

check() {
    local name=$1
    shift
    if output=$("$@" 2>&1); then
        echo "$name: passed"
    else
        echo "$output"
        echo "$name: FAILED"
        failed+=("$name")
    fi
}

[ "$(id -u)" -eq 0 ] ||
    echo "Not root: what needs network namespaces is skipped. Run it as root to test everything."

check "style" "$bin/ruff" check --quiet .
check "format" "$bin/ruff" format --quiet --check .
check "types" "$bin/mypy"

log=$(mktemp)
trap 'rm -f "$log"' EXIT
"$bin/pytest" "${directories[@]}" 2>&1 | tee "$log"
status=${PIPESTATUS[0]}

if [ ${#failed[@]} -gt 0 ]; then
    counts=$(tail -1 "$log" | tr -d '=' | xargs)
    echo "=========== failed before the tests: ${failed[*]}; the tests: $counts ==========="
    exit 1
fi
exit "$status"
