# needs: setfattr getfattr
# Extended attributes: set, list, replace, remove, copy; names and values at their limits.
echo x > f; setfattr -n user.a -v one f; echo $?; setfattr -n user.b -v 0x00ff f; getfattr -d f; getfattr -n user.b -e hex --only-values f | od -c | head -1; setfattr -n user.a -v two f; getfattr -n user.a f
setfattr -x user.a f; getfattr -d f; getfattr -n user.a f; echo $?; mkdir d; setfattr -n user.dir -v v d; getfattr -d d; cp -a f g; getfattr -d g; setfattr -n nonsense -v x f; echo $?; setfattr -n user.empty f; getfattr -d f; ln -s f l; setfattr -h -n user.x -v y l; echo $?
python3 -c 'import os
os.setxattr("f", "user.py", b"v" * 1000, os.XATTR_CREATE); print(len(os.getxattr("f", "user.py")), sorted(os.listxattr("f")))
for flag in (os.XATTR_CREATE,):
  try: os.setxattr("f", "user.py", b"", flag)
  except OSError as e: print(e.errno)'
