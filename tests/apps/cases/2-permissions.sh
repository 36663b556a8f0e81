# chmod in its forms, chown by root, setgid inheritance, what an ordinary user may not do.
echo x > f; for m in 644 u+x g=w o-r a+X +t 4755 7777 u=rwX,go= 000 644; do chmod $m f; stat -c "$m %a" f; done; mkdir d; chmod 2775 d; mkdir d/sub; touch d/file; stat -c '%n %a' d/sub d/file; chmod -R u=rwX,g=rX,o= d; stat -c '%n %a' d d/*
chmod --reference=d/file f; stat -c %a f; ln -s f l; chmod 600 l; stat -c '%n %a' l f; chmod 777 no; echo $?
if [ "$(id -u)" = 0 ]; then
  chown 1234:2345 f; stat -c '%u %g' f; chown -h 5:6 l; stat -c '%u %g' l f; chown :77 f; stat -c '%u %g' f; chmod 4755 f; chown 9 f; stat -c '%a %u' f; mkdir g; chgrp 55 g; chmod g+s g; touch g/x; stat -c %g g/x
  chmod 755 .; echo secret > s; chmod 600 s; echo open > o; chmod 644 o; mkdir m 777; chmod 1777 m; touch m/root
  setpriv --reuid=65534 --regid=65534 --clear-groups sh -c 'cat s; cat o; echo no > o; touch here; rm -f m/root; touch m/mine && stat -c "%u %g" m/mine; chmod 777 o; chown 65534 o; mkdir m/d && ls -A m; ls s && cd m/d && pwd | tail -c 5'
fi
