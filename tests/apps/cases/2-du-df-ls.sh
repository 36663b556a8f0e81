# ls in its formats, du by apparent size, df of the directory.
mkdir -p d/e; head -c 5000 /dev/zero > d/f; head -c 70000 /dev/zero > d/e/g; ln d/f d/h; ln -s f d/l; mkfifo d/p; chmod 640 d/f; chmod 1777 d/e; touch -h -d 2003-03-03 d/*
ls -l --time-style=full-iso d | sed 1d | sed 's/ *[0-9]* 2003/ 2003/' | grep -v ' e$'; ls -aF d; ls -R d; ls -1S d | grep -v e; ls -t d | sort; ls -x d | wc -l; ls -ld d/l | cut -c1; ls --color=always d/f d/l | cat -v
du -ab --apparent-size d/f d/e/g; du -sb d/e/g; df . > /dev/null; echo $?; df --output=target . | tail -1 | grep -c .; df -i . > /dev/null; echo $?; ls no-such; echo $?
dir d; vdir d/f | cut -c1-10; stat --printf='%n %s\n' d/f d/h; find d -newermt 2002-01-01 ! -newermt 2004-01-01 | sort
