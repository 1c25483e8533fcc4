"""Namespaces: process trees that leave nothing behind, and networks of their own."""
import os
import signal
import sys

from . import kernel
from ..failure import Failure


class NotAllowed(Failure):
    """This machine, or container, gives this user no namespaces."""


def enter(work):
    """Calls work() as process 1 of namespaces of its own, and returns the status that it returns.

    Whatever work() started, temporary files in /dev/shm included, is gone when this returns, and
    when this process dies, by SIGKILL even: the kernel ends all processes with their process 1.
    Without root, a user namespace gives the rights to do so. To be called once in a process, by
    its only thread."""
    user, group = os.geteuid(), os.getegid()
    flags = kernel.CLONE_NEWPID | kernel.CLONE_NEWNS | kernel.CLONE_NEWNET
    try:
        kernel.unshare(flags)
    except OSError:
        try:
            kernel.unshare(flags | kernel.CLONE_NEWUSER)
            _become_root(user, group)
        except OSError as error:
            raise NotAllowed(f"no namespaces for this user ({error})") from None
    try:
        os.close(os.open("/dev/net/tun", os.O_RDWR))
    except OSError as error:
        raise NotAllowed(f"no TUN devices for this user: /dev/net/tun: {error.strerror}") from None

    sys.stdout.flush()
    alive, held = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(held)
        kernel.die_with_parent(signal.SIGKILL)
        if os.read(alive, 1) != b"1":  # the parent died before it could be watched
            os._exit(1)
        os.close(alive)
        _run(work)
    os.close(alive)
    _forward_signals(child)
    os.write(held, b"1")
    os.close(held)
    return os.waitstatus_to_exitcode(_wait(child))


def _become_root(user, group):
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"),
                       ("gid_map", f"0 {group} 1")):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)


def _run(work):
    """Never returns."""
    status = 1
    try:
        _own_mounts()
        status = work()
    except Failure as failure:
        print(failure, file=sys.stderr)
    except BaseException:  # pylint: disable=broad-except
        sys.excepthook(*sys.exc_info())
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(status)


def _own_mounts():
    kernel.mount(None, "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
    for kind, place in (("proc", "/proc"), ("tmpfs", "/dev/shm")):
        try:
            kernel.mount(kind, place, kind)
        except OSError:
            pass  # containers may hide parts of /proc, and then refuse a whole one: we need neither


def _forward_signals(child):
    def forward(number, _):
        try:
            os.kill(child, number)
        except ProcessLookupError:
            pass

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, forward)


def _wait(child):
    while True:
        try:
            return os.waitpid(child, 0)[1]
        except InterruptedError:
            pass


class Network:
    """A network namespace, for as long as this object or a process inside lives."""

    def __init__(self):
        home = os.open("/proc/self/ns/net", os.O_RDONLY)
        try:
            kernel.unshare(kernel.CLONE_NEWNET)
            self.file = os.open("/proc/self/ns/net", os.O_RDONLY)
            kernel.setns(home, kernel.CLONE_NEWNET)
        finally:
            os.close(home)

    def enter(self):
        """Moves the calling process here; for a child, before it becomes another program."""
        kernel.setns(self.file, kernel.CLONE_NEWNET)
