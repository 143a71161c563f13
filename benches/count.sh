#!/bin/bash
# Instructions per solve of problem P1, counted by callgrind: the same on every run, whatever else the machine does.
# Every figure is the difference of two counts, so that start-up does not show. The counter sees the AVX2 path.
# Usage: benches/count.sh [levels…]           (default 5 10 25 50)
set -euo pipefail
cd "$(dirname "$0")/.."
command -v valgrind >/dev/null || { echo "valgrind is not installed" >&2; exit 1; }
cargo build --locked --quiet --release -p equipoise --example count
binary=${CARGO_TARGET_DIR:-target}/release/examples/count
few=100 many=1100
instructions() {
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$binary" "$1" "$2" "$3" 2>&1 >/dev/null |
        sed -n 's/.*Collected : \([0-9]*\).*/\1/p'
}
[ $# -gt 0 ] || set -- 5 10 25 50
printf '%-8s' levels; printf '%10s' open boxed each warm slack; echo
for levels in "$@"; do
    printf '%-8s' "$levels"
    for family in open boxed each warm slack; do
        printf '%10s' $((($(instructions "$family" "$levels" $many) - $(instructions "$family" "$levels" $few)) / (many - few)))
    done
    echo
done
