# needs: dash
# A POSIX shell runs a script that lies in the directory, by name and by `#!`.
cat > s <<'END'
#!/bin/dash
set -eu
i=0
while [ $i -lt 20 ]; do
  echo "$i" > "n.$i"
  i=$((i + 1))
done
cat n.* | sort -n | tail -1
exec 3< n.7; read x <&3; echo "x=$x"
[ -f n.1 ] && [ ! -f n.99 ] && [ -x "$0" ] && echo tests
. ./lib
echo "$(greet dash) $0 $#"
trap 'echo bye; rm -f n.*' EXIT
END
echo 'greet() { echo "hello $1"; }' > lib
chmod +x s; dash s a b; ls; ./s; env ./s 1 2 3; sh -c './s'
