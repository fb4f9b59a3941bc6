"""The processes of one training, on this machine."""

import json
import os
import pathlib
import socket
import subprocess
import sys

from programs import ROOT

HELPERS = pathlib.Path(__file__).resolve().parent


def free_ports(num):
    """Of this machine; another program could take one before it is used, though hardly ever does."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(num)]
    ports = [taken.getsockname()[1] for taken in sockets]
    for taken in sockets:
        taken.close()
    return ports


def start(program, arguments, num=1, *, only=None):
    """`num` processes of a program, or `only` some of them, whose standard output and error are kept."""
    addresses = [f"127.0.0.1:{port}" for port in free_ports(num)]
    processes = []
    for number in range(num) if only is None else only:
        config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": number}}
        paths = os.pathsep.join(map(str, (ROOT, HELPERS)))
        environment = os.environ | {"TF_CONFIG": json.dumps(config), "PYTHONPATH": paths}
        command = [sys.executable, str(program), *map(str, arguments)]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=environment
        )
        processes.append(process)
    return processes


def finish(processes, timeout=1800):
    """Exit status, standard output and error of each."""
    try:
        said = [process.communicate(timeout=timeout) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(process.returncode, *texts) for process, texts in zip(processes, said, strict=True)]
