#!/usr/bin/env bash
# Builds components where rustup offers no WebAssembly target but Debian's archive can be reached: unpacks Debian's newer
# rustc with the source of its standard library into a private folder. Nothing is installed and root is not needed.
#
# usage: guest-toolchain.sh FOLDER     prints the environment for `cargo build` as NAME=VALUE lines
#
# cargo and the linker remain rustup's; the compiler must be Debian's, since it has to fit the standard library's source.
set -euo pipefail

folder=$(realpath -m "${1:?usage: guest-toolchain.sh FOLDER}")
linker=$(env -u RUSTC -u LD_LIBRARY_PATH rustc --print sysroot)/lib/rustlib/x86_64-unknown-linux-gnu/bin/rust-lld

if [[ ! -e $folder/complete ]]; then
  version=$(apt-cache policy rustc-web | awk '/Candidate/ { print $2 }')
  if [[ -z $version || $version == '(none)' ]]; then
    echo 'apt knows no package rustc-web; its lists may be missing (apt-get update)' >&2
    exit 1
  fi
  upstream=${version%%+*}
  std=libstd-rust-web-${upstream%.*}
  llvm=$(apt-cache show "$std=$version" | grep -oE 'libllvm[0-9]+' | head -1)

  echo "unpacking rustc $upstream into $folder" >&2
  rm -rf "$folder"
  mkdir -p "$folder/packages"
  cd "$folder/packages"
  apt-get download "rustc-web=$version" "$std=$version" "libstd-rust-web-dev=$version" "rust-web-src=$version" "$llvm" >&2
  for package in *.deb; do
    case $package in
      # Of the sources only the library is needed, a fifth of the files.
      rust-web-src*) dpkg-deb --fsys-tarfile "$package" | tar -x -C "$folder" "./usr/src/rustc-$upstream/library" ;;
      *) dpkg-deb -x "$package" "$folder" ;;
    esac
  done
  mkdir -p "$folder/usr/lib/rustlib/src"
  ln -s "../../../src/rustc-$upstream" "$folder/usr/lib/rustlib/src/rust"
  cd /
  rm -rf "$folder/packages"
  touch "$folder/complete"
fi

cat <<ENVIRONMENT
RUSTC=$folder/usr/bin/rustc
LD_LIBRARY_PATH=$folder/usr/lib/x86_64-linux-gnu
RUSTC_BOOTSTRAP=1
CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=$linker
CARGO_UNSTABLE_BUILD_STD=std,panic_abort
ENVIRONMENT
