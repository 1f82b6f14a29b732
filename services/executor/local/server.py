"""The fork server: a small process that has everything in memory that a supervisor needs.

Thus the supervisor of a pod costs a fork, but no start of Python.

`python -m services.executor.local.server <descriptor>`: the descriptor is a sequenced-packet socket to the
executor. Each packet is a request number and comes with a memory file that holds an `Order`. The answer is
`made`, `taken`, or the reason why the pod could not be made. A request number followed by `network` comes
with a `NetworkOrder`, before the first order of a job with a network of its own. Its answer is empty, or the
reason why jobs can't have one. The server ends with its executor; the supervisors continue without both.
"""

import contextlib
import gc
import os
import signal
import socket
import sys
import traceback
from typing import NoReturn

from services.executor.local.network import PROGRAM, Network, NetworkUnusable, make_network, try_command
from services.executor.local.order import NETWORK, NetworkOrder, Order
from services.executor.local.pod_files import PodFiles
from services.executor.local.processes import set_name
from services.executor.local.signal_pipe import HEARD
from services.executor.local.staging import lock, put_in_place, stage
from services.executor.local.supervisor import supervise
from services.executor.trees import remove_tree

READY = b"ready"
_NAME = "towpath-forks"


def main() -> None:
    channel = socket.socket(fileno=int(sys.argv[1]))
    channel.set_inheritable(False)
    signal.pthread_sigmask(signal.SIG_BLOCK, HEARD)  # keeps a supervisor's signals until it can handle them
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps supervisors
    set_name(_NAME)
    os.chdir("/")
    os.umask(0o022)
    gc.disable()  # a collection would copy every shared page, and supervisors make little garbage
    gc.freeze()
    channel.send(READY)
    networks = _Networks()
    while True:
        request, descriptors, _, _ = socket.recv_fds(channel, 64, 1)
        if not request:
            return
        _serve(channel, request, descriptors[0], networks)


class _Networks:
    """The network of new pods.

    A network whose program has ended stays with the pods that have it, and is replaced for new ones.
    """

    def __init__(self) -> None:
        self._order: NetworkOrder | None = None
        self._network: Network | None = None

    def prepare(self, order: NetworkOrder) -> None:
        """Make the network, and test it with a command. Raises NetworkUnusable."""
        self._order = order
        complaint = try_command(self.get(), (*order.prefix, "/bin/sh", "-c", "echo entered"), "entered")
        if complaint:
            raise NetworkUnusable(complaint)

    def get(self) -> Network:
        """Return the network. Makes another one if its program has ended. Raises NetworkUnusable."""
        if self._network is not None and not self._network.lives():
            self._network.close()
            self._network = None
        if self._network is None:
            self._network = make_network(PROGRAM if self._order is None else self._order.program)
        return self._network


def _serve(channel: socket.socket, request: bytes, descriptor: int, networks: _Networks) -> None:
    """Answer one request. If the executor is gone, the answer is lost and the next one finds the pod."""
    number, _, what = request.partition(b" ")
    try:
        with os.fdopen(descriptor, "rb") as memory:  # the executor has rewound it; the offset is shared
            content = memory.read()
        if what == NETWORK:
            networks.prepare(NetworkOrder.decode(content))
            answer = ""
        else:
            answer = _supervised(Order.decode(content), channel, networks)
    except NetworkUnusable as error:
        answer = str(error)
    except Exception as error:  # noqa: BLE001 - one order's trouble stays its own
        answer = f"could not make a pod: {error}"
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        channel.send(number + b" " + answer.encode("utf-8", "replace")[:4096])


def _supervised(order: Order, channel: socket.socket, networks: _Networks) -> str:
    """Make the pod, and return the answer. Raises NetworkUnusable, OSError."""
    network = networks.get() if order.own_network else None
    return "made" if _make(order, channel, network) else "taken"


def _make(order: Order, channel: socket.socket, network: Network | None) -> bool:
    """Make the pod. Returns False if another pod has its name.

    The child does as little as possible, because it pays for each page of memory that it is the first to
    touch.
    """
    staged = stage(order)
    held = lock(staged)
    in_place, say = os.pipe2(os.O_CLOEXEC)
    try:
        supervisor = _fork(staged)
        if supervisor == 0:
            _become_supervisor(order, in_place, [channel.detach(), say], network)
        made = put_in_place(order, staged, supervisor)
        if made:
            os.write(say, b"!")
        return made
    finally:
        for descriptor in (in_place, say, held):  # the supervisor has its own copy of the lock
            os.close(descriptor)


def _fork(staged: PodFiles) -> int:
    """Fork. The child starts with its own name, because changing it in the child costs more."""
    set_name("towpath-pod")
    try:
        child = os.fork()
    except OSError:
        remove_tree(staged.folder)
        raise
    if child:
        set_name(_NAME)
    return child


def _become_supervisor(order: Order, in_place: int, not_ours: list[int], network: Network | None) -> NoReturn:
    code = 1
    try:
        for descriptor in not_ours:
            os.close(descriptor)
        code = supervise(order, in_place, network)
    except Exception:  # noqa: BLE001 - the outermost edge of the process
        traceback.print_exc()
    finally:
        os._exit(code)


if __name__ == "__main__":
    main()
