#!/usr/bin/env bash
# The five-minute test: for the sections of the pages for builders, new environments with the wheel and what the section
# names, and nothing else; its blocks as they are written; how many minutes that took. Exit 1 if one fails or prints
# something else than the page says. Needs the network, curl, and torch's download once per environment unless pip has it
# in its cache. PIP_ARGS is given to every pip install, as in the Makefile; PYTHON is the interpreter. Run from anywhere.
set -euo pipefail
repo="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"

made="$(mktemp -d)"
trap 'rm -rf "$made"' EXIT
"${PYTHON:-python3}" -m venv "$made/build"
python="$made/build/bin/python"
"$python" -m pip wheel --quiet --disable-pip-version-check --no-deps ${PIP_ARGS:-} --wheel-dir "$made" "$repo"
cd "$repo"
"$python" -m tests.builder_blocks "$made"/*.whl
