# needs: git
# timeout: 60
# contents-vary: *.git/index *.git/logs/* *.git/*/index *.git/objects/pack/* *.git/objects/info/commit-graph
# Several git processes at once in one repository and in many.
git config --global init.defaultBranch main; git config --global pack.threads 1; git config --global advice.detachedHead false; git config --global gc.auto 0; git config --global core.fileMode true
git init -q r; cd r; seq 100 > a; git add .; git commit -qm one; for i in 1 2 3 4 5 6; do (git worktree add -q ../w$i -b b$i 2> /dev/null) ; done
for i in 1 2 3 4 5 6; do (cd ../w$i; for j in 1 2 3; do echo $i $j > f$i.$j; git add .; git commit -qm "c $i $j"; done) & done; wait; git log --all --oneline | wc -l; for i in 1 2 3 4 5 6; do git merge -q --no-edit b$i > /dev/null; done; ls | wc -l; git fsck --full; for i in 1 2 3 4; do git status -s & git log --format=%s | wc -l > /dev/null & done; wait; for i in 1 2 3 4; do git clone -q . ../c$i & done; wait; for i in 1 2 3 4; do diff -r --exclude=.git . ../c$i && echo same; done
