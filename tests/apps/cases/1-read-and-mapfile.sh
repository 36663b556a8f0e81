# The shell reads its own script and data at exact offsets, by lines and bytes.
seq 1000 > n
{ read -r a; read -r b; sed -n 1p; } < n > r; echo $a $b; head -c 20 r | tr '\n' ' '; echo
mapfile -t lines < n; echo ${#lines[@]} ${lines[999]}
{ head -n 2 > /dev/null; read -r third; echo $third; } < n
while IFS=: read -r u _ id _; do echo "$u $id"; done <<'END'
root:x:0:0
other:x:7:9
END
read -r -d '' whole < n; echo ${#whole}
echo 'echo one; echo "echo two" >> self' > self; bash self
