# needs: python3
# timeout: 40
# Sockets with names, and descriptors in messages: socketserver, send_fds, multiprocessing.
cat > s.py <<'END'
import os, socket, socketserver, threading, multiprocessing, multiprocessing.connection as mc, multiprocessing.reduction as red, sys, array
class H(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(self.rfile.readline().upper())
s = socketserver.ThreadingUnixStreamServer("server", H)
threading.Thread(target=s.serve_forever, daemon=True).start()
c = socket.socket(socket.AF_UNIX); c.connect("server"); c.sendall(b"hello\n"); print(c.recv(100), c.getpeername(), s.server_address)
c.close(); s.shutdown(); s.server_close(); os.unlink("server")
# send_fds
a, b = socket.socketpair(socket.AF_UNIX)
open("f", "w").write("content of f")
f = open("f", "r+")
socket.send_fds(a, [b"m"], [f.fileno(), 0])
msg, fds, flags, addr = socket.recv_fds(b, 10, 5)
print(msg, len(fds), os.pread(fds[0], 100, 0), flags)
# multiprocessing send_handle / listener in the pool
def child(conn):
    fd = red.recv_handle(conn); os.write(fd, b"from the child"); os.close(fd)
    conn.send("done")
x, y = multiprocessing.Pipe()
p = multiprocessing.get_context("fork").Process(target=child, args=(y,)); p.start()
g = open("g", "wb", 0); red.send_handle(x, g.fileno(), p.pid); g.close()
print(x.recv()); p.join(); print(open("g").read())
l = mc.Listener("listener", "AF_UNIX")
def client():
    k = mc.Client("listener", "AF_UNIX"); k.send([1, 2]); print(k.recv()); k.close()
t = threading.Thread(target=client); t.start(); k = l.accept(); print(k.recv(), l.address); k.send("ok"); t.join(); l.close()
print(os.path.exists("listener"))
def work(q): q.append(1)
import tempfile; tempfile.tempdir = os.getcwd()
with multiprocessing.get_context("fork").Manager() as m:
    q = m.list(); p = multiprocessing.get_context("fork").Process(target=work, args=(q,)); p.start(); p.join(); print(list(q))
END
python3 s.py; ls
