# needs: script tmux screen su sudo
# timeout: 180
# Programs on terminals of their own, with servers and sockets in the directory, and programs as somebody else.
wait_for() { for _ in $(seq 200); do [ -s "$1" ] && break; sleep 0.05; done; cat "$1"; }
script -qec 'echo in script > s1; tty -s && echo a terminal; pwd | sed "s/.*\///"' typescript | tr -d '\r'
cat s1; grep -c 'a terminal' typescript; rm typescript
tmux -S sock -f /dev/null new-session -d -x 80 -y 24 'echo in tmux > t1; cat > t2; exec sleep 100'
wait_for t1
tmux -S sock send-keys typed Enter C-d; wait_for t2
tmux -S sock new-window 'pwd | sed "s/.*\///" > t3; exec sleep 100'; wait_for t3
tmux -S sock kill-server
mkdir -m 700 screens
SCREENDIR=$PWD/screens screen -c /dev/null -dmS one sh -c 'echo in screen > c1; exec sleep 100'
wait_for c1
SCREENDIR=$PWD/screens screen -S one -X quit
for _ in $(seq 200); do [ -z "$(ls screens)" ] && break; sleep 0.05; done; ls screens
# As somebody else: where root asks for it, all of them find the directory.
mkdir -m 777 open; chmod 755 .
su -s /bin/sh nobody -c 'id -un; cd open && pwd | sed "s/.*\///"; echo by su > u1; cat u1' < /dev/null; stat -c '%U %s' open/u1
su -s /bin/sh -c 'id -un; echo by root > u2; cat u2' < /dev/null
sudo -n sh -c 'id -un; echo by sudo > u3; cat u3'
sudo -n -u nobody sh -c 'id -un; echo by sudo > open/u4; cat open/u4'; stat -c %U open/u4
rm -f sock
