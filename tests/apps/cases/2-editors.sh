# needs: ed vim.tiny
# ed and vim write files: in place, with backup, swap and undo files.
seq 10 > f; ed -s f <<'END'
3,5d
$a
added
.
1,$s/1/one/
w
w copy
q
END
cat f; cmp f copy && echo same
printf 'alpha\nbeta\ngamma\n' > v; vim.tiny -u NONE -es -c '%s/beta/BETA/' -c 'normal Gonew' -c 'wq' v; echo $?; cat v
vim.tiny -u NONE -N -es -c 'set backup backupext=.orig undofile undodir=.' -c '1d' -c 'wq' v; ls -A | sed 's/%.*%/U/'; cat v v.orig; rm -f -- .*%* *%*
vim.tiny -u NONE -es -c 'w new' -c 'e new' -c 'normal iinserted' -c 'x' v; cat new; chmod 444 v; vim.tiny -u NONE -es -c 'normal ggdd' -c 'w!' -c 'q' v; cat v; stat -c %a v
ln v h; vim.tiny -u NONE -es -c '$d' -c 'wq!' h; stat -c '%h %n' v h; cat h; ln -s f sl; vim.tiny -u NONE -es -c '1d' -c 'wq' sl; readlink sl; head -1 f; ls -A
