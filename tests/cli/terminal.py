#!/usr/bin/env python3
"""`icecore top` on a pseudo-terminal: keys, resizes, and the terminal as it was afterwards.

    python3 tests/cli/terminal.py --icecore target/release/icecore --db target/incident/history

However it ends (a key, Ctrl-C, a signal), the alternate screen is left, the cursor is back, and the
terminal's settings are those from before.
"""

import argparse
import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time

ENTER, LEAVE, CURSOR = b"\x1b[?1049h", b"\x1b[?1049l", b"\x1b[?25h"


class Terminal:
    """A command in a terminal of its own."""

    def __init__(self, command, columns, rows):
        self.master, slave = pty.openpty()
        self.resize(columns, rows)
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        self.shown = b""
        self.pid = os.fork()
        if self.pid == 0:
            os.setsid()
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
            for descriptor in range(3):
                os.dup2(slave, descriptor)
            os.environ["TERM"] = "xterm-256color"
            os.execv(command[0], command)

    def resize(self, columns, rows):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self, seconds):
        """Takes in what is shown until nothing comes for so long."""
        while select.select([self.master], [], [], seconds)[0]:
            try:
                self.shown += os.read(self.master, 65536)
            except OSError:
                return

    def until(self, text, seconds=20):
        """Waits for a text; says what was shown since the last one."""
        end = time.monotonic() + seconds
        while text not in self.shown:
            if time.monotonic() > end:
                sys.exit(f"{text!r} did not appear in {self.shown[-4000:]!r}")
            self.read(0.2)
        shown, self.shown = self.shown, b""
        return shown

    def press(self, keys):
        os.write(self.master, keys)

    def ended(self, code):
        """Waits for the end, and looks at what is left."""
        end = time.monotonic() + 20
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                break
            if time.monotonic() > end:
                sys.exit("it does not end")
            self.read(0.1)
        self.read(0.2)
        if os.waitstatus_to_exitcode(status) != code:
            sys.exit(f"ended with {status}, not {code}: {self.shown[-2000:]!r}")
        if LEAVE not in self.shown or CURSOR not in self.shown:
            sys.exit(f"the screen was not given back: {self.shown[-2000:]!r}")
        if termios.tcgetattr(self.slave) != self.before:
            sys.exit("the terminal's settings are not what they were")
        os.close(self.master)
        os.close(self.slave)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--icecore", required=True)
    arguments.add_argument("--db", required=True)
    given = arguments.parse_args()
    command = [given.icecore, "top", "--db", given.db, "--window", "30s"]

    terminal = Terminal(command, 80, 24)
    assert ENTER in terminal.until(b"at rest")
    terminal.press(b"?")
    terminal.until(b"Keys")
    terminal.press(b"\x1b")
    terminal.until(b"Recent")
    terminal.press(b"/sel")
    terminal.until(b"/")
    terminal.press(b"\r")
    terminal.until(b"with")
    terminal.press(b"jj\r")
    terminal.until(b"fingerprint")
    for columns, rows in [(200, 60), (20, 5), (3, 2), (1, 1), (80, 24)]:
        terminal.resize(columns, rows)
        terminal.read(0.3)
    terminal.until(b"fingerprint")
    terminal.press(b"\x1b[D\x1b[D[g]n+-soz1234\t\x1b[Z")
    terminal.read(0.5)
    terminal.press(b"q")
    terminal.ended(0)

    for end in [lambda it: it.press(b"\x03"), lambda it: os.kill(it.pid, signal.SIGTERM)]:
        terminal = Terminal(command, 120, 40)
        terminal.until(b"at rest")
        end(terminal)
        terminal.ended(0)
    print("the terminal was given back each time")


main()
