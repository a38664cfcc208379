#!/usr/bin/env bash
# Everything that must hold before a change lands: format, lints, all tests,
# generated files, a minute of fuzzing, the notebook. For people and machines.
set -euo pipefail
cd "$(dirname "$0")"

step() { printf '\n== %s\n' "$1"; }

step "format"
cargo fmt --all -- --check

step "clippy"
cargo clippy --quiet --workspace --all-targets -- -D warnings

step "dependencies"
if cargo deny --version >/dev/null 2>&1; then
    cargo deny --all-features check --hide-inclusion-graph bans licenses sources
    # Needs the advisory database, which a machine without the network lacks.
    if cargo deny fetch db >/dev/null 2>&1; then
        cargo deny --all-features check --hide-inclusion-graph advisories
    else
        echo "SKIPPED: the advisory database cannot be fetched"
    fi
else
    echo "SKIPPED: install cargo-deny for licences, sources and advisories"
fi
if command -v cargo-cyclonedx >/dev/null; then
    # It writes beside each Cargo.toml; the program's own is the one to keep.
    bom="${CARGO_TARGET_DIR:-target}/nsforensics.cdx.json"
    cargo cyclonedx --quiet --manifest-path cli/Cargo.toml --format json --spec-version 1.5 \
        --override-filename bom.cdx
    mkdir -p "$(dirname "$bom")" && mv cli/bom.cdx.json "$bom"
    find . -name bom.cdx.json -not -path './target/*' -delete
    echo "bill of materials: $bom"
else
    echo "SKIPPED: install cargo-cyclonedx for the bill of materials"
fi

step "tests"
cargo build --quiet -p nsforensics-analytics
cargo test --quiet --workspace

step "alerts against rsyslog"
cargo build --quiet
tests/rsyslog.sh
step "alerts against an HTTPS server"
tests/webhook.sh

step "crafted samples are what their script makes"
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT
python3 samples/craft.py "$made/crafted"
diff -r samples/crafted "$made/crafted"
echo "no difference"

step "fuzzing (${FUZZ_SECONDS:-60} s)"
if rustup run nightly cargo fuzz --version >/dev/null 2>&1; then
    targets=(capture decode tls decrypt keylog session datagrams http dns x509 pki policy manifest indicators rules
        dce_rpc desktop tunnels quic messages lines icmp)
    each=$(( ${FUZZ_SECONDS:-60} / ${#targets[@]} + 1 ))
    for target in "${targets[@]}"; do
        rustup run nightly cargo fuzz run "$target" -- -max_total_time="$each" -verbosity=0
    done
else
    cargo run --quiet -p nsforensics-tests --bin fuzz-loop -- "${FUZZ_SECONDS:-60}"
fi

step "notebook"
python=${NSF_NOTEBOOK_PYTHON:-}
if [ -n "$python" ] && [ -x "$python" ]; then
    SECRET_KEY="a key for this test only: $(head -c 24 /dev/urandom | base64)"
    export SECRET_KEY
    cargo build --quiet
    binary="${CARGO_TARGET_DIR:-target}/debug/nsforensics"
    run=$("$binary" analyze samples/agent.pcap --quiet --out "$made/out")
    "$python" notebooks/verify.py "$run"
    NSF_RUN="$run" "$python" notebooks/run.py
else
    echo "SKIPPED: set NSF_NOTEBOOK_PYTHON to a Python with notebooks/requirements.lock installed"
fi

step "all passed"
