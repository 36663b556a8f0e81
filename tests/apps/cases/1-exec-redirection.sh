# `exec >file`: everything after goes there, also from children.
echo before
exec 9>&1 > log 2>&1
echo logged; ls no-such; (echo from a subshell; sh -c 'echo from a child >&2')
exec >&9 2>&1 9>&-
echo after; cat log
exec < log; read -r first; echo "$first"; cat
bash -c 'exec > inner; echo inside; exec echo replaced'; cat inner
( exec 200> lockish; echo held >&200; bash -c 'echo inherited >&200' ); cat lockish
