# needs: git
# timeout: 60
# contents-vary: *.git/index *.git/logs/* *.git/*/index *.git/objects/pack/* *.git/objects/info/commit-graph
# Branches, merges with and without conflict, rebase, cherry-pick, stash, bisect, reflog.
git config --global init.defaultBranch main; git config --global pack.threads 1; git config --global advice.detachedHead false; git config --global gc.auto 0; git config --global core.fileMode true
git init -q r; cd r; for i in 1 2 3 4 5; do seq $i $((i + 20)) > f$i; git add .; git commit -qm c$i; done
git checkout -qb side; sed -i 3d f1; git commit -qam s1; sed -i 9d f2; git commit -qam s2; git checkout -q main; echo m >> f3; git commit -qam m1; git merge -q --no-edit side; git log --graph --format=%s
git checkout -qb conflict HEAD~1; echo theirs > f4; git commit -qam t; git checkout -q main; echo ours > f4; git commit -qam o; git merge conflict; echo $?; cat f4; git checkout --ours f4; git add f4; git commit -qm solved
git checkout -qb topic HEAD~3; echo t1 > t1; git add t1; git commit -qm t1; echo t2 > t2; git add t2; git commit -qm t2; git rebase -q main; git log --format=%s -5; git checkout -q main; git cherry-pick topic > /dev/null; ls; echo dirty >> f5; git stash -q; git status -s; git stash list; git stash pop -q; git diff --stat; git checkout -q .
git bisect start HEAD HEAD~4 > /dev/null; git bisect run sh -c '[ ! -e t2 ]' | grep -c 'is the first bad'; git bisect reset > /dev/null; git branch -a; git branch -D side conflict | sed 's/(.*//'; git reflog | wc -l; git fsck --full --strict
