"""The package stacklesslib: main loop, workers, queues, and the standard library by tasklets."""

import asyncio
import errno
import importlib.util
import os
import select
import selectors
import socket
import subprocess
import threading
import time
import unittest
import urllib.request

import stackless
from stacklesslib import monkeypatch
from stacklesslib.main import mainloop
from stacklesslib.util import Expired, QueueChannel, call_async, timeout

from programs import Programs, command


def pump_until(done):
    while not done():
        stackless.pump(1)
        stackless.run()


class Loop(unittest.TestCase):
    def test_the_main_loop_runs_until_nobody_waits(self):
        seen = []

        def work(name, seconds):
            stackless.sleep(seconds)
            seen.append(name)

        for name, seconds in (("second", 1), ("first", 0.01)):
            stackless.tasklet(work)(name, seconds)
        mainloop.run()
        self.assertEqual(seen, ["first", "second"])

    def test_the_main_loop_can_be_stopped(self):
        t = stackless.tasklet(stackless.sleep)(3600)
        stackless.tasklet(mainloop.stop)()
        mainloop.run()
        self.assertTrue(t.blocked)
        t.kill()

    def test_a_call_on_a_worker_lets_the_others_run(self):
        seen, go = [], threading.Event()

        def slow():
            go.wait(60)
            return "slow"

        stackless.tasklet(lambda: seen.append(call_async(slow)))()
        stackless.tasklet(lambda: (seen.append("quick"), go.set()))()
        mainloop.run()
        self.assertEqual(seen, ["quick", "slow"])

    def test_a_queue_channel_keeps_what_nobody_waits_for(self):
        c, got = QueueChannel(max_len=2), []
        stackless.tasklet(lambda: [c.send(i) for i in range(4)])()
        stackless.run()
        self.assertEqual((len(c), c.balance), (2, 1))
        for _ in range(4):
            got.append(c.receive())
            stackless.run()
        self.assertEqual(got, [0, 1, 2, 3])
        c.send("kept")
        c.close()
        self.assertEqual(list(c), ["kept"])
        with self.assertRaises(ValueError):
            c.send(1)


class Descriptors(unittest.TestCase):
    def test_a_descriptor_is_waited_for_by_the_tasklet_alone(self):
        r, w = os.pipe()
        seen = []

        def wait():
            stackless.wait_fd(r)
            seen.append(os.read(r, 10))

        stackless.tasklet(wait)()
        stackless.tasklet(lambda: (seen.append("other"), os.write(w, b"x")))()
        mainloop.run()
        self.assertEqual(seen, ["other", b"x"])
        with self.assertRaises(TimeoutError):
            stackless.wait_fd(r, timeout=0.01)
        stackless.wait_fd(w, write=True)
        os.close(r)
        os.close(w)
        with self.assertRaises(OSError):
            stackless.wait_fd(r)


class Patched(Programs):
    def setUp(self):
        monkeypatch.patch_all()
        self.addCleanup(monkeypatch.unpatch_all)

    def test_urllib_downloads_by_tasklets_in_one_thread(self):
        body = b"0123456789" * 5000
        listener = socket.create_server(("127.0.0.1", 0))
        url = "http://127.0.0.1:%d/" % listener.getsockname()[1]
        together, got, most = [0], [], [0]

        def answer(connection):
            with connection, connection.makefile("rb") as lines:
                while lines.readline().strip():
                    pass
                together[0] += 1
                most[0] = max(most[0], together[0])
                time.sleep(0.05)
                together[0] -= 1
                head = b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
                connection.sendall(head + body)

        def serve():
            for _ in range(10):
                connection, _ = listener.accept()
                stackless.tasklet(answer)(connection)

        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

        def load():
            with opener.open(url, timeout=60) as response:
                got.append(response.read() == body)

        stackless.tasklet(serve)()
        for _ in range(10):
            stackless.tasklet(load)()
        mainloop.run()
        listener.close()
        self.assertEqual(got, [True] * 10)
        self.assertGreater(most[0], 1)

    def test_time_limits_and_refusals_are_those_of_sockets(self):
        a, b = socket.socketpair()
        with a, b:
            for s in (a, b):
                self.assertIsInstance(s, socket.socket)
            a.settimeout(0.01)
            with self.assertRaises(TimeoutError):
                a.recv(1)
            a.setblocking(False)
            with self.assertRaises(BlockingIOError):
                a.recv(1)
            b.sendall(b"x")
            self.assertEqual(a.recv(1), b"x")
        with socket.create_server(("127.0.0.1", 0)) as listener:
            address = listener.getsockname()
        with self.assertRaises(ConnectionRefusedError):
            socket.create_connection(address)
        with socket.socket() as one, self.assertRaises(ConnectionRefusedError):
            one.connect(("localhost", address[1]))

    def test_the_limit_of_a_block_is_told_from_that_of_a_socket(self):
        a, b = socket.socketpair()
        with a, b:
            for ask in (lambda: a.recv(1), lambda: select.select([a], [], [], 60)):
                a.settimeout(60)
                with self.assertRaises(Expired) as caught, timeout(0.01) as block:
                    ask()
                self.assertIs(caught.exception.block, block)
            a.settimeout(0.01)
            with self.assertRaises(TimeoutError) as caught, timeout(60) as block:
                a.recv(1)
            self.assertNotIsInstance(caught.exception, Expired)
            self.assertFalse(block.expired)

    def test_a_socket_that_does_not_block_says_so_with_its_number(self):
        a, b = socket.socketpair()
        with a, b:
            a.setblocking(False)
            with self.assertRaises(BlockingIOError) as caught:
                a.recv(1)
            self.assertEqual(caught.exception.errno, errno.EAGAIN)
            with a.makefile("rb", buffering=0) as file:
                self.assertIsNone(file.read(1))

    def test_messages_and_keywords_are_those_of_sockets(self):
        a, b = socket.socketpair()
        got = []
        with a, b:

            def take():
                octets = bytearray(5)
                got.append((b.recv_into(octets, nbytes=3), bytes(octets)))
                message, descriptors, _, _ = socket.recv_fds(b, 10, 1)
                got.append((message, len(descriptors)))
                for fd in descriptors:
                    socket.close(fd)
                got.append((b.recvmsg_into([octets])[0], bytes(octets)))

            t = stackless.tasklet(take)()
            stackless.run()
            a.sendall(b"abc")
            pump_until(lambda: len(got) == 1)
            socket.send_fds(a, [b"with"], [a.fileno()])
            pump_until(lambda: len(got) == 2)
            a.sendmsg([b"12", b"345"])
            pump_until(lambda: not t.alive)
        self.assertEqual(got, [(3, b"abc\0\0"), (b"with", 1), (5, b"12345")])

    def test_sendall_has_one_time_limit_for_all_its_pieces(self):
        a, b = socket.socketpair()
        with a, b:
            a.settimeout(0.3)

            def drip():
                for _ in range(600):
                    stackless.sleep(0.05)
                    try:
                        b.recv(100_000)
                    except OSError:
                        return

            t = stackless.tasklet(drip)()
            start = time.monotonic()
            with self.assertRaises(TimeoutError):
                a.sendall(bytes(20_000_000))
            # Were it a limit for each piece, all of it would be sent, or take half a minute.
            self.assertLess(time.monotonic() - start, 20)
            t.kill()

    def test_select_and_poll_let_the_others_run_and_answer_as_always(self):
        a, b = socket.socketpair()
        seen = []

        def asks(name, ask):
            answer = ask()
            seen.append(name)
            return answer

        def poller(kind):
            made = kind()
            made.register(a, select.POLLIN)
            return made

        ways = {
            "select": lambda: select.select([a], [], [a], 30) == ([a], [], []),
            "poll": lambda: poller(select.poll).poll(30_000) == [(a.fileno(), select.POLLIN)],
            "epoll": lambda: poller(select.epoll).poll(30) == [(a.fileno(), select.EPOLLIN)],
            "selectors": lambda: len(self.selector(a).select(30)) == 1,
        }
        with a, b:
            for name, ask in ways.items():
                with self.subTest(name):
                    seen.clear()
                    got = []
                    stackless.tasklet(lambda: got.append(asks(name, ask)))()
                    stackless.tasklet(lambda: (seen.append("other"), b.sendall(b"x")))()
                    mainloop.run()
                    self.assertEqual((seen, got), (["other", name], [True]))
                    self.assertTrue(ask())
                    a.recv(10)
            start = time.monotonic()
            self.assertEqual(select.select([a], [], [], 0.02), ([], [], []))
            self.assertEqual(poller(select.poll).poll(20), [])
            self.assertEqual(poller(select.epoll).poll(0.02), [])
            self.assertEqual(self.selector(a).select(0.02), [])
            self.assertGreaterEqual(time.monotonic() - start, 0.08)
            # What is ready takes no time, twice in a list or not, and a file always is.
            with open(os.devnull) as file:
                self.assertEqual(select.select([a], [b, b, a], [], 60), ([], [b, b, a], []))
                self.assertEqual(select.select([file], [], [], 60), ([file], [], []))
        closed = os.dup(0)
        os.close(closed)
        for bad, error in (([a], ValueError), (["x"], TypeError), ([closed], OSError)):
            with self.assertRaises(error):
                select.select(bad, [], [], 60)
        with self.assertRaises(ValueError):
            select.select([], [], [], -1)

    def selector(self, *files):
        made = selectors.DefaultSelector()
        for file in files:
            made.register(file, selectors.EVENT_READ)
        self.addCleanup(made.close)
        return made

    def test_an_error_that_nobody_has_asked_for_is_waited_out(self):
        r, w = os.pipe()
        os.close(r)
        spent = time.process_time()
        # The reader has gone, of which select knows nothing among the exceptional conditions.
        self.assertEqual(select.select([], [], [w], 0.3), ([], [], []))
        self.assertLess(time.process_time() - spent, 0.2)
        os.close(w)

    def test_loops_of_asyncio_wait_by_tasklet(self):
        seen = []

        async def naps(name, times, seconds):
            for _ in range(times):
                await asyncio.sleep(seconds)
                seen.append(name)

        async def asks():
            reader, writer = await asyncio.open_connection(*address)
            writer.write(b"hello")
            seen.append((await reader.read(10)).decode())
            writer.close()

        def serve():
            connection, _ = listener.accept()
            with connection:
                connection.sendall(connection.recv(10).upper())

        with socket.create_server(("127.0.0.1", 0)) as listener:
            address = listener.getsockname()
            stackless.tasklet(serve)()
            stackless.tasklet(asyncio.run)(naps("slow", 1, 0.8))
            stackless.tasklet(asyncio.run)(naps("quick", 3, 0.02))
            stackless.tasklet(asyncio.run)(asks())
            mainloop.run()
        self.assertEqual(sorted(seen), ["HELLO"] + ["quick"] * 3 + ["slow"])
        self.assertEqual(seen[-1], "slow")

    def test_the_output_of_a_program_is_read_by_tasklet(self):
        got = []
        program = "import sys, time; time.sleep(0.2); print(sys.stdin.read().upper())"

        def run():
            with subprocess.Popen(
                command(program),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            ) as child:
                got.append(child.communicate(b"words"))

        stackless.tasklet(run)()
        stackless.tasklet(lambda: got.append("other"))()
        mainloop.run()
        self.assertEqual(got, ["other", (b"WORDS\n", b"")])

    @unittest.skipUnless(importlib.util.find_spec("_ssl"), "no ssl here")
    def test_ssl_stays_as_it_is_also_when_it_is_imported_afterwards(self):
        program = """
            import os, socket
            from stacklesslib import monkeypatch
            monkeypatch.patch_all()
            import ssl
            with socket.socket() as plain:
                context = ssl.create_default_context()
                with context.wrap_socket(plain, server_hostname="localhost") as wrapped:
                    print(type(wrapped).__name__, isinstance(wrapped, monkeypatch.TaskletSocket))
                    print(wrapped.gettimeout(), os.get_blocking(wrapped.fileno()))
        """
        self.assertEqual(self.output(program), ["SSLSocket", "False", "None", "True"])


if __name__ == "__main__":
    unittest.main()
