#!/usr/bin/env python3
"""Alerts told to a real Alertmanager: starts one on loopback and runs the test that posts to it.

    apt-get install prometheus-alertmanager
    python3 tests/peers/alertmanager.py

Everything behind `--` goes to `cargo test`. Exits 0 where the test passes, 1 where it fails or did not run.
"""

import argparse
import contextlib
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import servers

TEST = "webhook::a_real_alertmanager_takes_them"
CONFIG = """\
route: {receiver: nobody}
receivers: [{name: nobody}]
"""


@contextlib.contextmanager
def alertmanager(directory, program):
    directory = servers.fresh(directory)
    port = servers.free_port()
    (directory / "alertmanager.yml").write_text(CONFIG)
    command = [
        program,
        f"--config.file={directory}/alertmanager.yml",
        f"--storage.path={directory}/data",
        f"--web.listen-address={servers.LOOPBACK}:{port}",
        "--cluster.listen-address=",
        "--log.level=warn",
    ]
    with servers.started("alertmanager", command, port, directory) as server:
        yield server


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--program", default="prometheus-alertmanager", help="Alertmanager's name or path")
    parser.add_argument("cargo", nargs="*", default=["--features", "full"], help="arguments of cargo test")
    arguments = parser.parse_args()
    if servers.missing(arguments.program):
        sys.exit(f"no {arguments.program} on the path")
    servers.end_on_signal()
    with tempfile.TemporaryDirectory() as scratch:
        with alertmanager(Path(scratch) / "alertmanager", arguments.program) as server:
            command = ["cargo", "test", *arguments.cargo, "--test", "monitor", "--", "--exact", TEST]
            environment = {**os.environ, "ICECORE_ALERTMANAGER": server.url}
            run = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True)
    print(run.stdout, end="")
    ran = re.search(r"test result: ok\. 1 passed", run.stdout)
    sys.exit(0 if run.returncode == 0 and ran else 1)


if __name__ == "__main__":
    main()
