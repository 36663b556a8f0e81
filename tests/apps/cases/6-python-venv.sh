# needs: python3
# timeout: 60
# contents-vary: *.pyc *.pth v/*
# venv, compileall, a package of many modules, zipimport, importlib caches.
unset PYTHONDONTWRITEBYTECODE
mkdir -p pkg/sub; for i in $(seq 100); do echo "value = $i" > pkg/sub/m$i.py; done; : > pkg/__init__.py; : > pkg/sub/__init__.py
python3 -c 'import importlib; print(sum(importlib.import_module(f"pkg.sub.m{i}").value for i in range(1, 101)))'; ls pkg/sub/__pycache__ | wc -l; python3 -m compileall -q -f -j 2 pkg; echo $?; rm pkg/sub/m5.py; python3 -c 'import pkg.sub.m5' 2>&1 | tail -1; echo 'value = 7777' > pkg/sub/m6.py; python3 -c 'import pkg.sub.m6 as m; print(m.value)'
python3 -m venv --without-pip v; v/bin/python -c 'import sys; print(sys.prefix[-2:], sys.prefix != sys.base_prefix)'; cp -r pkg v/lib/python3*/site-packages/; (cd /; "$OLDPWD"/v/bin/python -c 'import pkg.sub.m7 as m; print(m.value, m.__file__[-30:])'); python3 -m zipapp pkg -o z.pyz -m 'sub.m1:print' 2>&1; python3 -m zipfile -l z.pyz | wc -l; python3 -c 'import sys; sys.path.insert(0, "z.pyz"); import sub.m9; print(sub.m9.value)'; . v/bin/activate; command -v python | tail -c 14; python -c 'import json, sqlite3, ssl; c = sqlite3.connect("x.db"); c.execute("create table t(a)"); c.execute("insert into t values(1)"); c.commit(); print(list(c.execute("select * from t")))'; rm z.pyz x.db; rm -rf v
