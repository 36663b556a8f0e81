# needs: git
# timeout: 60
# contents-vary: *.git/index *.git/logs/* *.git/*/index *.git/objects/pack/* *.git/objects/info/commit-graph *.git *w*/.git *.gitconfig
# Work trees, submodules, sparse checkout, hooks, notes, grep, apply, format-patch and am.
git config --global init.defaultBranch main; git config --global pack.threads 1; git config --global advice.detachedHead false; git config --global gc.auto 0; git config --global core.fileMode true
git init -q r; cd r; mkdir -p a/b; for i in 1 2 3; do seq $i 50 > a/b/f$i; done; echo top > t; git add .; git commit -qm one; git worktree add -q ../w -b wb; cd ../w; echo w > w; git add w; git commit -qm inw; cd ../r; git log --all --format=%s; git worktree list | sed 's/.*\///'; git worktree remove ../w; ls ..
git grep -n 49; git grep -c 1 wb -- a | sort; printf '#!/bin/sh\necho hook ran > hooked\n' > .git/hooks/pre-commit; chmod +x .git/hooks/pre-commit; echo 2 >> t; git commit -qam two; cat hooked; rm hooked .git/hooks/pre-commit; git format-patch -q -1 -o ../p; ls ../p; git reset -q --hard HEAD~1; git am -q ../p/*.patch; git log --format=%s -1; git notes add -m note; git log -1 --format=%N
git sparse-checkout set --cone a 2> /dev/null; ls; git sparse-checkout disable; ls; cd ..; git init -q s; cd s; git -c protocol.file.allow=always submodule --quiet add "$PWD/../r" sub 2> /dev/null; git commit -qm sub; git submodule status | cut -c43-50; cat sub/t; cd ..; diff -r --exclude=.git r s/sub && echo same; git -C r fsck --full; git -C r diff HEAD~1 | git -C r apply -R --check; echo $?
