// AF_UNIX sockets with names: bound, connected to, renamed, removed.
#include "common.h"

#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

static socklen_t address_of(struct sockaddr_un *a, const char *path) {
  memset(a, 0, sizeof *a);
  a->sun_family = AF_UNIX;
  size_t bytes = strlen(path);
  memcpy(a->sun_path, path, bytes < sizeof a->sun_path ? bytes : sizeof a->sun_path);
  return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + bytes + (bytes < sizeof a->sun_path));
}

static int bind_to(int fd, const char *path) {
  struct sockaddr_un a;
  socklen_t bytes = address_of(&a, path);
  return bind(fd, (struct sockaddr *)&a, bytes);
}
static int connect_to(int fd, const char *path) {
  struct sockaddr_un a;
  socklen_t bytes = address_of(&a, path);
  return connect(fd, (struct sockaddr *)&a, bytes);
}
static int stream(void) { return socket(AF_UNIX, SOCK_STREAM, 0); }

static void show_address(const char *what, const struct sockaddr_un *a, socklen_t bytes) {
  printf("%s: family %d, %u bytes, \"%.*s\"\n", what, bytes >= 2 ? a->sun_family : -1, bytes,
         bytes > 2 ? (int)(bytes - 2) : 0, a->sun_path);
}
static void show_name(const char *what, int fd, int peer) {
  struct sockaddr_un a;
  char room[256] = {0};
  socklen_t bytes = sizeof room;
  if ((peer ? getpeername : getsockname)(fd, (struct sockaddr *)room, &bytes) != 0) {
    printf("%s: %s\n", what, strerrorname_np(errno));
    return;
  }
  memcpy(&a, room, sizeof a);
  show_address(what, &a, bytes);
}
static void show_mode(const char *name) {
  struct stat st;
  printf("%s: ", name);
  if (lstat(name, &st) != 0)
    printf("%s\n", strerrorname_np(errno));
  else
    printf("%o links %d\n", st.st_mode, (int)st.st_nlink);
}
// Connects afresh.
static int try_connect(const char *path, int type) {
  int fd = socket(AF_UNIX, type, 0);
  int result = connect_to(fd, path), error = errno;
  close(fd);
  errno = error;
  return result;
}

static void streams(void) {
  int listener = stream(), client = stream();
  SHOW(bind_to(listener, "sock"));
  show_mode("sock");
  SHOW(try_connect("sock", SOCK_STREAM)); // not listening yet
  SHOW(listen(listener, 5));
  show_name("listener", listener, 0);
  SHOW(connect_to(client, "sock"));
  struct sockaddr_un a;
  socklen_t bytes = sizeof a;
  int served = accept(listener, (struct sockaddr *)&a, &bytes);
  show_address("accepted", &a, bytes);
  show_name("client", client, 0);
  show_name("client's peer", client, 1);
  show_name("served", served, 0);
  show_name("served's peer", served, 1);
  SHOW(write(client, "hello", 5));
  char text[16] = {0};
  SHOW(read(served, text, sizeof text));
  printf("%s\n", text);
  SHOW(bind_to(stream(), "sock"));
  SHOW(bind_to(listener, "another"));
  show_mode("another");
  SHOW(try_connect("sock", SOCK_DGRAM));
  SHOW(try_connect("sock", SOCK_SEQPACKET));
  SHOW(rename("sock", "moved"));
  SHOW(try_connect("sock", SOCK_STREAM));
  SHOW(try_connect("moved", SOCK_STREAM));
  SHOW(link("moved", "linked"));
  SHOW(unlink("moved"));
  SHOW(try_connect("linked", SOCK_STREAM));
  show_name("client's peer", client, 1);
  SHOW(symlink("linked", "symlink"));
  SHOW(try_connect("symlink", SOCK_STREAM));
  SHOW(bind_to(stream(), "symlink"));
  SHOW(symlink("nowhere", "dangling"));
  SHOW(bind_to(stream(), "dangling"));
  SHOW(try_connect("dangling", SOCK_STREAM));
  SHOW(unlink("linked"));
  SHOW(try_connect("linked", SOCK_STREAM));
  show_name("listener", listener, 0); // its name is gone, its address stays
  SHOW(write(served, "bye", 3));
  memset(text, 0, sizeof text);
  SHOW(read(client, text, sizeof text));
  show_name("client's peer", client, 1);
  int again = stream();
  SHOW(bind_to(again, "sock")); // beside the first, which lives
  SHOW(listen(again, 1));
  SHOW(try_connect("sock", SOCK_STREAM));
  close(again);
  SHOW(try_connect("sock", SOCK_STREAM));
  SHOW(bind_to(stream(), "sock"));
  SHOW(open("sock", O_RDONLY));
  SHOW(unlink("sock"));
  for (int fd = 3; fd < 40; ++fd) close(fd);
}

static void errors(void) {
  put("file", "x");
  mkdir("dir", 0755);
  SHOW(try_connect("file", SOCK_STREAM));
  SHOW(try_connect("dir", SOCK_STREAM));
  SHOW(try_connect("none", SOCK_STREAM));
  SHOW(try_connect("none/none", SOCK_STREAM));
  SHOW(try_connect("file/none", SOCK_STREAM));
  int fd = stream();
  SHOW(bind_to(fd, "file"));
  SHOW(bind_to(fd, "dir"));
  SHOW(bind_to(fd, "none/s"));
  SHOW(bind_to(fd, "file/s"));
  SHOW(bind_to(fd, "dir/s/"));
  SHOW(bind_to(fd, "."));
  SHOW(bind_to(open("file", O_RDONLY), "s1"));
  SHOW(bind_to(77, "s1"));
  SHOW(bind_to(socket(AF_INET, SOCK_STREAM, 0), "s1"));
  SHOW(connect_to(socket(AF_INET, SOCK_STREAM, 0), "file"));
  SHOW(connect_to(77, "file"));
  SHOW(access("s1", F_OK));
  SHOW(mknod("node", S_IFSOCK | 0777, 0));
  SHOW(try_connect("node", SOCK_STREAM));
  struct sockaddr_un a;
  socklen_t bytes = address_of(&a, "short");
  SHOW(bind(fd, (struct sockaddr *)&a, 1));
  SHOW(bind(fd, (struct sockaddr *)&a, 200));
  SHOW(bind(fd, (struct sockaddr *)8, bytes));
  SHOW(bind(fd, (struct sockaddr *)&a, bytes - 2)); // "shor" and no NUL
  show_name("without NUL", fd, 0);
  show_mode("shor");
  for (fd = 3; fd < 40; ++fd) close(fd);
}

static void long_names(void) {
  char path[200], cwd[4096];
  for (int bytes = 106; bytes <= 108; ++bytes) {
    memset(path, 'n', sizeof path);
    path[bytes] = 0;
    int fd = stream();
    printf("%d bytes\n", bytes);
    SHOW(bind_to(fd, path));
    show_name("name", fd, 0);
    SHOW(listen(fd, 1));
    int client = stream();
    SHOW(connect_to(client, path));
    show_name("peer", client, 1);
    show_mode(path);
    // What does not fit is cut, and the length is told.
    struct sockaddr_un a;
    memset(&a, 'z', sizeof a);
    socklen_t room = 6;
    SHOW(getsockname(fd, (struct sockaddr *)&a, &room));
    printf("%u \"%.5s\"\n", room, a.sun_path);
    room = (socklen_t)-1;
    SHOW(getsockname(fd, (struct sockaddr *)&a, &room));
    close(fd);
    close(client);
  }
  if (getcwd(cwd, sizeof cwd) == NULL) return;
  int fd = stream(), client = stream();
  snprintf(path, sizeof path, "%.90s/absolute", cwd);
  SHOW(bind_to(fd, path));
  SHOW(listen(fd, 1));
  SHOW(connect_to(client, "./dir/../absolute"));
  struct sockaddr_un a;
  socklen_t bytes = sizeof a;
  SHOW(getpeername(client, (struct sockaddr *)&a, &bytes));
  printf("absolute %d\n", strcmp(a.sun_path, path));
  SHOW(chdir("dir"));
  SHOW(try_connect("../absolute", SOCK_STREAM));
  SHOW(chdir(".."));
  close(fd);
  close(client);
}

static void modes(void) {
  for (int i = 0; i < 3; ++i) {
    static const mode_t masks[] = {0, 022, 0177};
    char name[16];
    snprintf(name, sizeof name, "mask%d", i);
    umask(masks[i]);
    int fd = stream();
    SHOW(bind_to(fd, name));
    show_mode(name);
    listen(fd, 5);
    if (getuid() == 0) {
      fflush(stdout);
      if (fork() == 0) {
        setresgid(65534, 65534, 65534);
        setresuid(65534, 65534, 65534);
        SHOW(try_connect(name, SOCK_STREAM));
        SHOW(bind_to(stream(), "mine"));
        _exit(0);
      }
      wait(NULL);
    }
    SHOW(chmod(name, 0666));
    fflush(stdout);
    if (fork() == 0) {
      if (getuid() == 0) SHOW(setresuid(65534, 65534, 65534));
      SHOW(try_connect(name, SOCK_STREAM));
      _exit(0);
    }
    wait(NULL);
    close(fd);
  }
  umask(022);
  int fd = stream();
  SHOW(fchmod(fd, 0600));
  SHOW(bind_to(fd, "mode"));
  show_mode("mode");
  close(fd);
}

static void datagrams(void) {
  int a = socket(AF_UNIX, SOCK_DGRAM, 0), b = socket(AF_UNIX, SOCK_DGRAM, 0);
  struct sockaddr_un to, from;
  SHOW(bind_to(a, "dgram-a"));
  SHOW(bind_to(b, "dgram-b"));
  socklen_t bytes = address_of(&to, "dgram-a"), room = sizeof from;
  SHOW(sendto(b, "one", 3, 0, (struct sockaddr *)&to, bytes));
  char text[16] = {0};
  SHOW(recvfrom(a, text, sizeof text, 0, (struct sockaddr *)&from, &room));
  show_address("from", &from, room);
  struct iovec v = {text, 3};
  struct msghdr m = {.msg_name = &from, .msg_namelen = room, .msg_iov = &v, .msg_iovlen = 1};
  SHOW(sendmsg(a, &m, 0)); // the answer to that address
  memset(&from, 0, sizeof from);
  m.msg_namelen = sizeof from;
  SHOW(recvmsg(b, &m, 0));
  show_address("from", &from, m.msg_namelen);
  struct mmsghdr mm = {.msg_hdr = m};
  mm.msg_hdr.msg_name = &to;
  mm.msg_hdr.msg_namelen = bytes;
  SHOW(sendmmsg(b, &mm, 1, 0));
  mm.msg_hdr.msg_name = &from;
  mm.msg_hdr.msg_namelen = sizeof from;
  SHOW(recvmmsg(a, &mm, 1, MSG_DONTWAIT, NULL));
  show_address("from", &from, mm.msg_hdr.msg_namelen);
  SHOW(connect_to(b, "dgram-a"));
  show_name("peer", b, 1);
  SHOW(send(b, "two", 3, 0));
  SHOW(recv(a, text, sizeof text, 0));
  close(a);
  SHOW(sendto(b, "x", 1, 0, (struct sockaddr *)&to, bytes));
  unlink("dgram-a");
  SHOW(sendto(b, "x", 1, 0, (struct sockaddr *)&to, bytes));
  bytes = address_of(&to, "file");
  SHOW(sendto(b, "x", 1, 0, (struct sockaddr *)&to, bytes));
  close(b);
}

// Another process listens, and is killed.
static void other_processes(void) {
  int p[2];
  pipe(p);
  pid_t child = fork();
  if (child == 0) {
    int fd = stream();
    bind_to(fd, "killed");
    listen(fd, 5);
    write(p[1], "x", 1);
    for (;;) close(accept(fd, NULL, NULL));
  }
  char c;
  read(p[0], &c, 1);
  SHOW(try_connect("killed", SOCK_STREAM));
  kill(child, SIGKILL);
  waitpid(child, NULL, 0);
  SHOW(try_connect("killed", SOCK_STREAM));
  SHOW(bind_to(stream(), "killed"));
  SHOW(unlink("killed"));
  int fd = stream();
  SHOW(bind_to(fd, "killed"));
  SHOW(listen(fd, 5));
  fflush(stdout);
  if (fork() == 0) {
    show_name("in the child", fd, 0);
    _exit(try_connect("killed", SOCK_STREAM));
  }
  int status;
  wait(&status);
  printf("child %d\n", status);
  close(fd);
  // An abstract name and none are the kernel's own.
  int u = stream();
  show_name("unbound", u, 0);
  struct sockaddr_un a = {.sun_family = AF_UNIX};
  SHOW(bind(u, (struct sockaddr *)&a, 2));
}

int main(void) {
  setvbuf(stdout, NULL, _IOLBF, 0);
  streams();
  errors();
  long_names();
  modes();
  datagrams();
  other_processes();
  return 0;
}
