#!/usr/bin/env bash
# run.sh BUILD_DIR [options of dax.py]: gets what the guest is made of, then runs dax.py. Nothing is skipped: what cannot be
# had is a failure.
set -euo pipefail
source "$(dirname "$0")/../../scripts/common.sh"
bin=$(realpath "$1")
shift
install_packages "$top/scripts/packages.dax"
kernel=$bin/dax/kernel
if [ ! -e "$kernel/ready" ]; then
  # Unpacked, not installed: this machine goes on booting what it boots.
  rm -rf "$kernel"
  mkdir -p "$kernel"
  package=$(apt-cache depends linux-image-amd64 | awk '/Depends: linux-image-/ { print $2; exit }')
  [ -n "$package" ] || fail "apt knows no linux-image-amd64"
  step "getting $package"
  (cd "$kernel" && quietly "download of $package" apt-get download "$package")
  quietly "unpacking $package" dpkg-deb -x "$kernel"/*.deb "$kernel"
  rm "$kernel"/*.deb
  touch "$kernel/ready"
fi
exec /usr/bin/python3 "$(dirname "$0")/dax.py" --build "$bin" --kernel "$kernel" "$@"
