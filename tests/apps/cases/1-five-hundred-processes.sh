# timeout: 60
# 500 short-lived processes, one after another, each leaving a trace.
for i in $(seq 250); do /bin/echo "$i" > "f$i"; /bin/cat "f$i" >> all; done
wc -l < all; md5sum < all; ls | wc -l
