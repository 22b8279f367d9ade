"""KeyboardInterrupt wherever CPython looks for signals in some code, one place after another."""

import dis
import sys
from collections.abc import Iterator
from contextlib import contextmanager

CHECKS = ("CALL", "RESUME", "JUMP_BACKWARD")


class Interrupter:
    """A tracer that raises KeyboardInterrupt once, at the given one of the places in some files."""

    def __init__(self, files, place):
        self.files, self.place = files, place
        self.seen = 0
        self.names = {}

    def __call__(self, frame, event, argument):
        if frame.f_code.co_filename not in self.files:
            return None
        frame.f_trace_opcodes = True
        last = [None]

        def local(frame, event, argument):
            if event == "opcode":
                # Signals are looked for behind a call, where a function begins and where a loop goes round.
                before, last[0] = last[0], self._name(frame)
                if before is not None and before.startswith(CHECKS):
                    self.seen += 1
                    if self.seen == self.place:
                        raise KeyboardInterrupt
            return local

        return local

    def _name(self, frame):
        code = frame.f_code
        if code not in self.names:
            self.names[code] = {i.offset: i.opname for i in dis.get_instructions(code)}
        return self.names[code].get(frame.f_lasti, "")


@contextmanager
def tracing(tracer):
    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        yield
    finally:
        sys.settrace(before)


def places(files, call) -> Iterator[bool]:
    """Run ``call`` with an interrupt at the first place, then at the second, ...: whether it came, each time.

    Ends with the run that has no such place any more.
    """
    place = 0
    while True:
        place += 1
        tracer = Interrupter(files, place)
        arrived = False
        try:
            with tracing(tracer):
                call()
        except KeyboardInterrupt:
            arrived = True
        if tracer.seen < place:
            assert place > 3, "nothing was traced"
            return
        yield arrived
