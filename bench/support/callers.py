"""callers.py AGENT LISTEN: whoever connects to the Unix socket LISTEN gets a new process that connects to AGENT for him.

To an agent that attests by the kernel's word each is a workload of its own; all of them take no more memory than a few
programs would. Ends with its standard input, and each process with its connection.
"""

import os
import select
import signal
import socket
import sys

BYTES = 65536


def carry(near: socket.socket, agent: str) -> None:
    far = socket.socket(socket.AF_UNIX)
    far.connect(agent)
    other = {near: far, far: near}
    while True:
        for end in select.select([near, far], [], [])[0]:
            data = end.recv(BYTES)
            if not data:
                return
            other[end].sendall(data)


def main(agent: str, listen: str) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(listen)
    listener.listen(1024)
    print("ready", flush=True)
    while True:
        if sys.stdin in select.select([listener, sys.stdin], [], [])[0]:
            return
        near, _ = listener.accept()
        if os.fork() == 0:
            try:
                carry(near, agent)
            except OSError:
                pass
            os._exit(0)
        near.close()


main(*sys.argv[1:])
