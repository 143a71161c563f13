#!/bin/bash
# Instructions per solve of problems P1 and P2 and per two-sided quote, counted by callgrind: the same on every run, whatever
# else the machine does. Every figure is the difference of two counts, so that start-up does not show. The counter sees the AVX2 path.
# Usage: benches/count.sh [levels…]           (default 5 10 25 50)
set -euo pipefail
cd "$(dirname "$0")/.."
command -v valgrind >/dev/null || { echo "valgrind is not installed" >&2; exit 1; }
cargo build --locked --quiet --release -p equipoise --example count
binary=${CARGO_TARGET_DIR:-target}/release/examples/count
instructions() {
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$binary" "$1" "$2" "$3" 2>&1 >/dev/null |
        sed -n 's/.*Collected : \([0-9]*\).*/\1/p'
}
# table FEW MANY FAMILY… : one row for each number of levels. Both counts go through every problem equally often.
table() {
    local few=$1 many=$2 family
    shift 2
    printf '%-8s' levels; printf '%12s' "$@"; echo
    for count in "${levels[@]}"; do
        printf '%-8s' "$count"
        for family in "$@"; do
            printf '%12s' $((($(instructions "$family" "$count" "$many") - $(instructions "$family" "$count" "$few")) / (many - few)))
        done
        echo
    done
}
levels=("$@")
[ $# -gt 0 ] || levels=(5 10 25 50)
echo 'one side (problem P1)'
table 96 1056 open boxed each warm slack
echo 'both sides (problem P2), levels on each side'
table 32 192 sides sides_warm sides_caps sides_eta
echo 'a quote, levels on each side'
table 32 192 quote worst_side buffer
