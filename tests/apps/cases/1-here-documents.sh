# Here-documents: plain, quoted, tabs, nested in functions and loops, large.
name=world
cat <<END > a
hello $name $(echo sub) $((6 * 7))
END
cat <<'END' >> a
raw $name $(echo sub)
END
cat a
f() { cat <<-END
	stripped $1
	END
}
f 1; f 2 > b; cat b
for i in 1 2 3; do cat <<END >> c
line $i
END
done; cat c
seq 1 20000 > big; cat <<END | md5sum
$(cat big)
END
while read -r l; do last=$l; done < big; echo "$last"
