"""Who takes part in a training, by TF_CONFIG; and waiting for all of them."""

import json
import signal
import socket
import threading
import time

import pytest

import workers as processes
from dvae.errors import PeerError, UserError
from dvae.workers import Workers, connecting


def config(cluster, kind="worker", index=0):
    return json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}})


TWO = ["a:2222", "b.example:2223"]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        (config({"worker": TWO}), 0),
        (config({"worker": TWO}, index=1), 1),
        (config({"worker": TWO}, index="1"), 1),
        (config({"chief": TWO[:1], "worker": TWO[1:]}, "chief"), 0),
        (config({"chief": TWO[:1], "worker": TWO[1:]}), 1),
    ],
)
def test_who_takes_part(text, number):
    """As TensorFlow documents it: a chief is the first worker, or a job of its own."""
    found = Workers.from_environment({"TF_CONFIG": text})
    assert found == (tuple(TWO), number)
    assert found.is_chief == (number == 0)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "TF_CONFIG is not set"),
        ("", "TF_CONFIG is ''"),
        ("{", "TF_CONFIG is '{'"),
        ("[" * 100_000, "TF_CONFIG is '[["),
        ("[]", "TF_CONFIG is '[]'"),
        ('{"cluster": {"worker": ["a:1"]}}', "TF_CONFIG has no 'task'"),
        (config({"worker": TWO}, index=2), "TF_CONFIG has no address for task 2 of 'worker'"),
        (config({"worker": TWO}, index=-1), "TF_CONFIG has no address for task -1 of 'worker'"),
        (config({"worker": TWO}, "chief"), "TF_CONFIG has no address for task 0 of 'chief'"),
        (config({"worker": TWO, "ps": ["c:1"]}), "TF_CONFIG has a job of the kind 'ps'"),
        (config({"worker": ["a"]}), "TF_CONFIG is "),
        (config({"worker": ["a:port"]}), "TF_CONFIG is "),
        (config({"worker": ["a:70000"]}), "TF_CONFIG is "),
        (config({"worker": "a:1"}), "TF_CONFIG is "),
        (config({"worker": ["a:1", "a:1"]}), "TF_CONFIG has one address twice"),
    ],
)
def test_what_is_wrong_is_one_line(text, told):
    with pytest.raises(UserError) as caught:
        Workers.from_environment({} if text is None else {"TF_CONFIG": text})
    assert str(caught.value).startswith(f"strategy='multi_worker': {told}")
    assert '"task": {"type": "worker", "index": 0}}' in str(caught.value)
    assert caught.value.status == 2


def test_all_wait_until_all_are_there():
    addresses = tuple(f"127.0.0.1:{port}" for port in processes.free_ports(3))
    done, said, everybody = [], [], threading.Barrier(3)

    def come(number):
        time.sleep(0.3 * number)
        Workers(addresses, number).wait(said.append, patience=60)
        done.append(number)
        with socket.create_server(("", int(addresses[number].rpartition(":")[2]))):  # as TensorFlow listens from now on
            everybody.wait(timeout=60)

    threads = [threading.Thread(target=come, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    time.sleep(0.1)
    assert done == []
    for thread in threads:
        thread.join(timeout=60)
    assert sorted(done) == [0, 1, 2]
    assert said[0].startswith(f"waiting for 2 other workers, 60 s at the most: {addresses[1]}, {addresses[2]}")


def test_nobody_waits_for_ever():
    addresses = tuple(f"127.0.0.1:{port}" for port in processes.free_ports(2))
    with pytest.raises(PeerError, match=rf"{addresses[1]} did not come in 1 s; start the job again") as caught:
        Workers(addresses, 0).wait(lambda _: None, patience=1)
    assert caught.value.status == 75


def test_sigterm_stays_whose_it_was():
    """TensorFlow takes it, and does nothing with it."""
    before = signal.signal(signal.SIGTERM, len)
    try:
        with connecting():
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            assert signal.alarm(60) > 0  # ends a process that waits on
        assert signal.getsignal(signal.SIGTERM) is len
        assert signal.alarm(0) == 0
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_port_of_another_program():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        addresses = (f"127.0.0.1:{taken.getsockname()[1]}", "127.0.0.1:1")
        with pytest.raises(UserError, match=r"port \d+ of .* cannot be had .Address already in use."):
            Workers(addresses, 0).wait(lambda _: None, patience=1)
