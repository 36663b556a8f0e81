# needs: git
# timeout: 60
# contents-vary: *.git/index *.git/logs/* *.git/*/index *.git/objects/pack/* *.git/objects/info/commit-graph
# A repository from init to log: add, commit, status, diff, move, remove, reset, clean, attributes of the checkout.
git config --global init.defaultBranch main; git config --global pack.threads 1; git config --global advice.detachedHead false; git config --global gc.auto 0; git config --global core.fileMode true
git init -q r; cd r; mkdir d; seq 100 > a; echo x > d/b; ln -s a l; printf '#!/bin/sh\n' > s; chmod +x s; git add .; git commit -qm first; git status -s; git log --oneline; git ls-files -s
sed -i 50d a; echo new > n; git status -s; git diff --stat; git diff a | tail -5; git commit -qam second; git mv d/b d/c; git rm -q s; git commit -qm third; git log --format='%h %s' --name-status; git show HEAD~1:a | md5sum
git reset -q --hard HEAD~1; ls; echo junk > junk; git clean -fdq; ls; git checkout -q HEAD~1 -- a; git status -s; git restore --staged a; git checkout -q .; git tag v1; git describe; git blame -s a | tail -1; git fsck --full; echo '*.o' > .gitignore; touch x.o; git status -s; git hash-object a; git cat-file -p HEAD
