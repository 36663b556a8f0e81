# needs: git
# timeout: 60
# contents-vary: *.git/index *.git/logs/* *.git/*/index *.git/objects/pack/* *.git/objects/info/commit-graph
# Clones: local with hard links, file://, bare, mirror; fetch, push, pull, shallow, bundle, archive.
git config --global init.defaultBranch main; git config --global pack.threads 1; git config --global advice.detachedHead false; git config --global gc.auto 0; git config --global core.fileMode true
git init -q r; (cd r; for i in $(seq 20); do seq $i 300 > f$i; git add .; git commit -qm c$i; done)
git clone -q r c1; diff -r --exclude=.git r c1 && echo same; git clone -q "file://$PWD/r" c2; git -C c2 fsck --full; git clone -q --bare r b.git; git clone -q b.git c3; cd c3; echo p > p; git add p; git commit -qm pushed; git push -q; cd ..; git -C b.git log --format=%s -2 main; git clone -q b.git c4; cat c4/p
cd c3; echo q > q; git add q; git commit -qm more; git push -q; cd ../c4; git pull -q; cat q; git fetch -q --all; cd ..; git clone -q --depth 3 "file://$PWD/r" sh; git -C sh log --oneline | wc -l; git -C r bundle create -q ../x.bundle --all; git clone -q -b main x.bundle c5; git -C c5 log --oneline | wc -l
git -C r archive --format=tar HEAD | tar -tf - | wc -l; git clone -q --mirror r m.git; git -C m.git count-objects | cut -d' ' -f1; git -C c1 fsck --full; git -C c4 fsck --full; rm -rf x.bundle m.git c2 sh
