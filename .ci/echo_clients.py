"""Drives an echo server with real clients and compares every byte.

Usage: python3 .ci/echo_clients.py COMMAND...

Starts COMMAND, waits for its line `listening on HOST:PORT (BACKEND)`, and has it serve 1,000
clients at once beside some that reset, half-close, vanish and never read. Then sends SIGINT and
checks the summary and the exit code. Beside the running server it starts others that cannot
work, which must say why in one line and exit with 2. Everything is bounded in time.
"""

import os
import random
import re
import resource
import selectors
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

CLIENTS = 1000
LIMIT = 120  # seconds


class Client:
    """Sends its own bytes in pieces and wants them back."""

    def __init__(self, address, seed):
        self.message = random.Random(seed).randbytes(2000 + seed * 13)
        self.sent = 0
        self.received = bytearray()
        self.socket = socket.create_connection(address, timeout=LIMIT)
        self.socket.setblocking(False)

    def step(self, events):
        """Goes on as far as it can; True when it is done."""
        if events & selectors.EVENT_WRITE and self.sent < len(self.message):
            piece = self.message[self.sent : self.sent + 1500]
            self.sent += self.socket.send(piece)
            if self.sent == len(self.message):
                self.socket.shutdown(socket.SHUT_WR)
        if events & selectors.EVENT_READ:
            data = self.socket.recv(65536)
            if not data:
                assert self.received == self.message, "other bytes came back"
                return True
            self.received += data
        return False

    def wants(self):
        write = selectors.EVENT_WRITE if self.sent < len(self.message) else 0
        return selectors.EVENT_READ | write


def reset(connection):
    """Closes a connection by a reset."""
    linger = struct.pack("ii", 1, 0)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    connection.close()


def refuses(command, *arguments):
    """Checks that the server, started so, gives one line of reason and ends with 2."""
    # Skip Cargo's own lines.
    environment = os.environ | {"CARGO_TERM_QUIET": "true"}
    result = subprocess.run(
        [*command, "--", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        env=environment,
    )
    told = f"{arguments}: exit code {result.returncode}, {result.stdout!r}, {result.stderr!r}"
    assert result.returncode == 2 and not result.stdout, told
    assert re.fullmatch(r"[^\n]+\n", result.stderr), told
    print(f"{' '.join(arguments)}: {result.stderr.strip()}")


def drive(address):
    deadline = time.monotonic() + LIMIT
    bad = [socket.create_connection(address, timeout=LIMIT) for _ in range(40)]
    for connection in bad[:20]:
        connection.sendall(b"never read")
    greedy = bad[20]
    greedy.setblocking(False)
    try:
        while True:
            greedy.send(b"x" * 65536)
    except BlockingIOError:
        pass

    selector = selectors.DefaultSelector()
    clients = [Client(address, seed) for seed in range(CLIENTS)]
    for client in clients:
        selector.register(client.socket, client.wants(), client)
    print(f"{CLIENTS} clients are connected at once")
    for connection in bad[:10]:
        reset(connection)
    for connection in bad[10:20]:
        connection.close()
    while selector.get_map():
        assert time.monotonic() < deadline, f"{len(selector.get_map())} clients got no answer"
        for key, events in selector.select(timeout=5):
            client = key.data
            if client.step(events):
                selector.unregister(client.socket)
                client.socket.close()
            elif key.events != client.wants():
                selector.modify(client.socket, client.wants(), client)
    for connection in bad[20:]:
        connection.close()
    return CLIENTS + len(bad), sum(len(client.message) for client in clients)


def main():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4096)), hard))
    command = sys.argv[1:]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        line = server.stdout.readline()
        match = re.fullmatch(r"listening on (.+):(\d+) \((\w+)\)\n", line)
        assert match, f"odd first line: {line!r}"
        host, port, backend = match.groups()
        bare = command[: command.index("--")] if "--" in command else command
        refuses(bare, "--backend", backend, "--listen", f"{host}:{port}")
        refuses(bare, "--backend", backend, "--listen", "nowhere")
        refuses(bare, "--backend", "no-such-backend")
        # Of a log that is not read, lines are lost in the end.
        lines = []
        thread = threading.Thread(target=lambda: lines.extend(server.stdout))
        thread.start()
        connections, echoed = drive((host, int(port)))
        server.send_signal(signal.SIGINT)
        code = server.wait(timeout=LIMIT)
        thread.join(timeout=LIMIT)
        assert code == 0, f"exit code {code}"
        summary = re.fullmatch(r"served (\d+) connections, (\d+) bytes\n", lines[-1])
        assert summary, f"odd last line: {lines[-1]!r}"
        assert int(summary[1]) == connections, f"{summary[1]} of {connections} connections"
        assert int(summary[2]) >= echoed, f"{summary[2]} of {echoed} bytes"
        for word in "accepted", "closed":
            count = sum(line.startswith(f"{word} {host}") for line in lines)
            assert count >= CLIENTS, f"{count} lines say {word}"
        print(f"{backend}: {lines[-1].strip()}, every byte compared")
    finally:
        server.kill()


if __name__ == "__main__":
    main()
