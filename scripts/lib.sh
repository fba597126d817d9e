# Shared by the scripts here; to be sourced. Bash 4.4 or newer.
# shellcheck shell=bash

ROOT=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
TARGET=${CARGO_TARGET_DIR:-$ROOT/target}

say() { printf '%s\n' "$*"; }

# Ends the script; the text says what is missing and what to do.
die() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# Seconds since an earlier value of $SECONDS, as 1m05s.
since() {
  local s=$((SECONDS - $1))
  if ((s >= 60)); then printf '%dm%02ds' $((s / 60)) $((s % 60)); else printf '%ds' "$s"; fi
}

# The Cargo features of a crate's folder, one a line; private ones (`_name`) and `default` are left out.
features_of() {
  awk '
    /^\[/ { in_features = ($0 ~ /^\[features\]/) ; next }
    in_features && /^[A-Za-z][A-Za-z0-9_.+-]*[ \t]*=/ { sub(/[ \t]*=.*/, ""); if ($0 != "default") print }
  ' "$ROOT/$1/Cargo.toml"
}

# The folders of the workspace's crates, one a line.
crates() {
  awk '/^members *= *\[/ { on = 1 } on { while (match($0, /"[^"]+"/)) { print substr($0, RSTART + 1, RLENGTH - 2); $0 = substr($0, RSTART + RLENGTH) } } on && /\]/ { exit }' \
    "$ROOT/Cargo.toml"
}

# The folders of the crates that are published, one a line.
published() {
  local crate
  for crate in $(crates); do
    grep -qE '^publish *= *false' "$ROOT/$crate/Cargo.toml" || say "$crate"
  done
}

# The target folder in which a crate is checked on its own, with any set of its features. There are two, so that two crates
# can be checked at the same time.
matrix_folder() {
  case $1 in
    wrapper-mysql | wrapper-sqlx) say "$TARGET/matrix" ;;
    *) say "$TARGET" ;;
  esac
}

# Tools that the machine lacks go here: in target/, so that a cached target folder spares their build.
TOOLS=$TARGET/tools

# The path of a program of a crate of the same name, which is built when it is not there yet: that takes some minutes,
# without optimisation half as many. Arguments: name, version.
installed() {
  local name=$1 version=$2 program=$TOOLS/bin/$1
  if [[ ! -x $program ]]; then
    cargo install "$name" --debug --locked --version "$version" --root "$TOOLS" --target-dir "$TOOLS/build" >&2 &&
      rm -rf "$TOOLS/build"
  fi
  say "$program"
}
