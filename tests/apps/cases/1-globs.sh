# Globs of bash over a directory with awkward names.
touch a1 a2 b1 .hidden 'with space' 'star*' '[x]' "quo'te" $'new\nline' ünïcode
mkdir -p d/e/f; touch d/x.c d/e/y.c d/e/f/z.c d/.h.c
echo *; echo .[!.]*; echo a?; echo [ab]1; echo {a,b}1 d/*.c
printf '<%s>' *; echo
shopt -s globstar dotglob nullglob extglob
echo **/*.c; echo d/*; echo no*match; echo !(a*|b*)
for f in *; do [ -f "$f" ] && rm -- "$f"; done; ls -A
compgen -G 'd/*.c' | sort
