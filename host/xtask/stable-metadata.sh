#!/usr/bin/env bash
# A wrapper around rustc (RUSTC_WRAPPER) that makes components the same in every checkout. cargo hashes the absolute path of
# a dependency that lies outside its workspace, as the SDK does, into the symbols of it and of all that use it; their order,
# and with it the bytes, would depend on the folder. Crates of this repository get their name in the place of that hash.
set -euo pipefail

arguments=()
for argument in "$@"; do
  if [[ $argument == metadata=* && ${CARGO_MANIFEST_DIR:-} == "$VMCP_REPOSITORY"/* ]]; then
    argument=metadata=$CARGO_PKG_NAME
  fi
  arguments+=("$argument")
done
exec "${arguments[@]}"
