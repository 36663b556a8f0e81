# needs: nc socat tmux ssh-agent gpg-agent
# timeout: 60
# Sockets with names: nc, socat, agents, a terminal multiplexer.
there() { for i in $(seq 200); do [ -S "$1" ] && break; sleep 0.05; done; sleep 0.2; }
nc -l -U s1 > got1 & there s1; echo "through nc" | nc -N -U s1; wait; cat got1; ls -F; rm s1
socat UNIX-LISTEN:s2,mode=600 SYSTEM:'tr a-z A-Z' & there s2; stat -c '%A %F' s2; echo "through socat" | socat - "UNIX-CONNECT:$PWD/s2"; wait; ls
echo dgram > m; socat -u UNIX-RECV:s3 OPEN:got3,creat & p=$!; there s3; mv s3 s4; socat -u FILE:m UNIX-SENDTO:s4; for i in $(seq 100); do [ -s got3 ] && break; sleep 0.05; done; kill $p; wait $p 2>/dev/null; cat got3
# The one that is installed is set-group-id, and so not served.
cp "$(command -v ssh-agent)" agent.program; eval "$(./agent.program -a "$PWD/agent")" > /dev/null; ssh-keygen -q -t ed25519 -N '' -f key; ssh-add -q key; ssh-add -l | cut -d' ' -f1,4; stat -c %A agent; ssh-add -D 2>&1; kill "$SSH_AGENT_PID"; for i in $(seq 100); do [ -S agent ] || break; sleep 0.05; done; ls
tmux -S "$PWD/tm" -f /dev/null new-session -d 'sleep 20' && tmux -S tm ls | cut -d: -f1; stat -c %F tm; tmux -S tm kill-server; for i in $(seq 100); do [ -S tm ] || break; sleep 0.05; done
mkdir -m 700 gh; export GNUPGHOME=$PWD/gh
timeout 20 gpg --batch --quiet --passphrase '' --quick-gen-key 'a <a@b>' ed25519 2>&1 | grep -c .; ls -F gh | sort; gpgconf --kill all; for i in $(seq 100); do [ -S gh/S.gpg-agent ] || break; sleep 0.05; done; ls -F gh | sort
rm -rf gh key key.pub agent.program
