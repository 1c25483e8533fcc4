"""System calls that Python has only from 3.12 on, or not at all."""
import ctypes
import os

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_REC = 0x4000
MS_PRIVATE = 1 << 18

PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None, use_errno=True)


def _must(result, call):
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")


def unshare(flags):
    _must(_libc.unshare(flags), "unshare")


def setns(file, kind):
    _must(_libc.setns(file, kind), "setns")


def mount(source, target, kind, flags=0, data=None):
    words = [word and word.encode() for word in (source, target, kind)]
    _must(_libc.mount(*words, ctypes.c_ulong(flags), data and data.encode()), f"mount {target}")


def die_with_parent(signal_number):
    """This process gets the signal when its parent ends, however that ends."""
    _must(_libc.prctl(PR_SET_PDEATHSIG, signal_number, 0, 0, 0), "prctl")
