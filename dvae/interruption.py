"""Signals that ask a training to end: it leaves within seconds, in one line, and loses nothing."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator

# Of a terminal that is closed, of Ctrl-C, of schedulers. (Windows has no SIGHUP.)
_SIGNALS = [getattr(signal, name) for name in ("SIGHUP", "SIGINT", "SIGTERM") if hasattr(signal, name)]
# Seconds from a signal until a run that has not left by itself is made to: for whoever waits 5. A checkpoint that is
# being written may take so many more; schedulers that send SIGTERM wait 30 before they kill.
_PATIENCE, _PATIENCE_SAVING = 4.5, 20.0


class Interruption:
    """What happens when a signal comes.

    Where a run is at rest, its state is saved, or there is none yet: it leaves at once, from a thread that needs not
    wait for the main one, which may be compiling for a minute. Where steps have been done since the last checkpoint,
    the main thread saves at the end of the graph call that it is in, which takes about a second, and calls `obey`. If
    it does not come to that in time, the run is left with its last checkpoint.

    Does nothing until it is `watching`, which the command line does: in a notebook Ctrl-C stays what it is there.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._number: int | None = None
        self._told = "nothing is saved yet; the same command begins again"
        self._is_moving = self._is_saving = self._has_said = False
        self._stderr = 2
        self._at_line_start = True

    @property
    def wanted(self) -> bool:
        """Whether a signal has come."""
        return self._number is not None

    def at_rest(self, told: str) -> None:
        """Nothing is lost from now on if the process ends; `told` says how to go on."""
        with self._lock:
            self._told, self._is_moving, self._at_line_start = told, False, False

    def in_motion(self) -> None:
        """There will be something to save."""
        with self._lock:
            self._is_moving = True

    @contextlib.contextmanager
    def saving(self) -> Iterator[None]:
        """Within it a checkpoint is written, which is worth waiting for."""
        self._is_saving = True
        try:
            yield
        finally:
            self._is_saving = False

    def obey(self) -> None:
        """Ends the program in the main thread, if a signal has come: all is saved."""
        if self._number is not None:
            self._at_line_start = True  # progress bars have been closed
            self._say(self._number)
            sys.exit(128 + self._number)

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Within it signals come here. In the main thread only.

        If one has come, the process ends here: to take all down that was compiled takes Python and TensorFlow seconds.
        """
        reading, writing = os.pipe()
        if hasattr(os, "set_blocking"):  # before Python 3.12 Windows has none, and asks for none
            os.set_blocking(writing, False)
        self._stderr = os.dup(2)  # TensorFlow is loaded with another one
        # One that whoever started the program has had ignored, as `nohup` does, stays so.
        watched = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        before = {number: signal.signal(number, _left_to_the_watcher) for number in watched}
        wakeup = signal.set_wakeup_fd(writing)
        watcher = threading.Thread(target=self._watch, args=(reading,), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            if self._number is not None:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(128 + self._number)
            signal.set_wakeup_fd(wakeup)
            for number, handler in before.items():
                signal.signal(number, handler)
            os.close(writing)  # ends the watcher
            watcher.join()
            os.close(reading)
            os.close(self._stderr)

    def _watch(self, reading: int) -> None:
        number = 0
        while number not in _SIGNALS:
            byte = os.read(reading, 1)
            if not byte:  # the other end is closed
                return
            number = byte[0]
        with self._lock:
            self._number = number
        begun = time.monotonic()
        while self._is_moving and time.monotonic() - begun < (_PATIENCE_SAVING if self._is_saving else _PATIENCE):
            time.sleep(0.05)
        flusher = threading.Thread(target=sys.stdout.flush, daemon=True)  # it may wait for ever
        flusher.start()
        flusher.join(0.5)
        self._say(number)
        os._exit(128 + number)

    def _say(self, number: int) -> None:
        with self._lock:
            is_first, self._has_said = not self._has_said, True
        if is_first:
            line = f"{signal.Signals(number).name}: {self._told}\n"
            os.write(self._stderr, (line if self._at_line_start else "\n" + line).encode(errors="replace"))


def _left_to_the_watcher(*_: object) -> None:
    """A handler of Python's runs when the main thread comes back from TensorFlow; the watcher knows at once."""
