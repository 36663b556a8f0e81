# needs: git
# timeout: 60
# contents-vary: *.git/index *.git/logs/* *.git/*/index *.git/objects/pack/* *.git/objects/info/commit-graph
# gc, repack, prune, pack-refs, then everything is still readable; fsck --full.
git config --global init.defaultBranch main; git config --global pack.threads 1; git config --global advice.detachedHead false; git config --global gc.auto 0; git config --global core.fileMode true
git init -q r; cd r; for i in $(seq 60); do seq $i 500 > f$((i % 7)); git add .; git commit -qm c$i; [ $((i % 10)) = 0 ] && git tag t$i; done; git log --format=%H | md5sum
git count-objects | cut -d, -f1; git gc -q; git count-objects | cut -d, -f1; git count-objects -v | grep -E 'packs|in-pack'; git fsck --full; git repack -adq --depth=20; git pack-refs --all; wc -l < .git/packed-refs; git verify-pack .git/objects/pack/*.idx; echo $?; git commit-graph write; git commit-graph verify; echo $?
git branch -q gone HEAD~30; git reset -q --hard HEAD~20; git reflog expire --expire=now --all; git gc -q --prune=now; git log --oneline | wc -l; git fsck --full; for t in $(git tag); do git show -s --format=%s $t; done; git status -s; git checkout -q t30; ls | wc -l; git multi-pack-index write; git multi-pack-index verify; echo $?; rm -rf .git/objects/pack .git/logs .git/objects/info
