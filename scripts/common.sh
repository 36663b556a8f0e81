# Sourced by ./quickstart, ./test and ./bench (bash): step lines, a log for
# everything noisy, packages. Each command names its log when something fails.

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build="$top/build/release"
mkdir -p "$top/build"
log="$top/build/$(basename "$0").log"
: > "$log"

step() { printf '== %s\n' "$*"; }

fail() {
  printf '\n%s: FAILED: %s\n' "$(basename "$0")" "$*" >&2
  exit 1
}

# quietly WHAT COMMAND...: output goes to the log; its end is shown on failure.
quietly() {
  local what=$1
  shift
  printf '\n$ %s\n' "$*" >> "$log"
  if ! "$@" >> "$log" 2>&1 < /dev/null; then
    tail -n 25 "$log" >&2
    fail "$what (whole output: $log)"
  fi
}

# A bare chroot may come without /proc and with a /dev/shm that is an ordinary
# directory: root can put that right, others are told.
prepare_chroot() {
  if [ ! -e /proc/self/stat ]; then
    [ "$(id -u)" = 0 ] || fail "/proc is not mounted"
    step "mounting /proc, which this environment lacks"
    quietly "mount /proc" mount -t proc proc /proc
  fi
  [ -c /dev/null ] || fail "/dev/null is not a device: mount devtmpfs or debootstrap's /dev first"
  if [ "$(stat -f -c %T /dev/shm 2> /dev/null)" != tmpfs ]; then
    step "mounting a tmpfs on /dev/shm, which this environment lacks"
    if [ "$(id -u)" != 0 ] || ! { mkdir -p /dev/shm && mount -t tmpfs -o mode=1777 tmpfs /dev/shm; } >> "$log" 2>&1; then
      fail "/dev/shm is not a tmpfs and cannot be made one here (root may: mount -t tmpfs tmpfs /dev/shm)"
    fi
  fi
}

# install_packages LIST...: installs those named in the list files that are missing.
install_packages() {
  local missing=() name
  while read -r name; do
    case "$name" in '' | '#'*) continue ;; esac
    # shellcheck disable=SC2016
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2> /dev/null)" = installed ] || missing+=("$name")
  done < <(cat "$@" | sort -u)
  [ ${#missing[@]} -eq 0 ] && return 0
  command -v apt-get > /dev/null || fail "these packages are missing and there is no apt-get: ${missing[*]}"
  local root=()
  if [ "$(id -u)" != 0 ]; then
    command -v sudo > /dev/null || fail "run as root, or install sudo: these packages are missing: ${missing[*]}"
    root=(sudo)
  fi
  step "installing ${#missing[@]} packages: ${missing[*]}"
  quietly "apt-get update" "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update
  quietly "apt-get install" "${root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y --no-install-recommends "${missing[@]}"
}

# build_release [cmake options]: configures and builds into build/release.
build_release() {
  step "building into build/release"
  quietly "configuring" env -C "$top" cmake --preset release "$@"
  quietly "building" cmake --build "$build"
}
