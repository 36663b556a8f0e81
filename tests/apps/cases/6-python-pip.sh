# needs: python3
# timeout: 60
# A virtual environment with pip in it, and a package built and installed from a local directory.
python3 -m venv v; v/bin/pip --version | cut -d' ' -f1; mkdir -p p/hello; echo 'def hi(): print("installed")' > p/hello/__init__.py; printf 'from setuptools import setup\nsetup(name="hello", version="1.0", packages=["hello"])\n' > p/setup.py
v/bin/pip install -q --no-index --no-build-isolation --disable-pip-version-check ./p 2>&1 | grep -v -i -e warning -e deprecat -e notice -e '^ *$' | head -5; v/bin/python -c 'import hello; hello.hi()'; v/bin/pip list --disable-pip-version-check 2> /dev/null | grep -c hello; v/bin/pip uninstall -q -y hello; v/bin/python -c 'import hello' 2>&1 | tail -1; rm -rf v p
