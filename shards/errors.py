"""What goes wrong with recordings and shards because of the files, not because of the program."""

from __future__ import annotations

import errno
import io

REMEDIES = {
    errno.ENOSPC: "free space there, or choose another place",
    errno.EDQUOT: "free space there, or have the quota raised",
    errno.EROFS: "mount it for writing, or choose another place",
    errno.ESTALE: "mount it again",
    errno.EIO: "look at the disk, or at the connection to it",
}
MISTAKES = (errno.EBADF, errno.EFAULT, errno.ENOTSOCK)  # of the program, which gave the system something impossible


class DataError(ValueError):
    """A recording or a shard folder cannot be used. The message is one sentence: the file, the fault, the remedy."""


class StorageError(OSError):
    """A folder elsewhere does not give what was asked for. The message is one sentence: file, fault and remedy."""


def of_storage(error: OSError) -> bool:
    """Whether an error comes from the disks, servers and permissions that a program finds, not from the program.

    A missing file that has no name, such as a working directory that was removed, helps nobody without its traceback.
    """
    kinds = (io.UnsupportedOperation, ChildProcessError, ProcessLookupError, BlockingIOError, InterruptedError)
    nameless = error.errno == errno.ENOENT and not error.filename
    return not isinstance(error, kinds) and error.errno not in MISTAKES and not nameless


def reason(error: OSError) -> str:
    """Why, in one line: "No space left on device"."""
    return error.strerror or (str(error) or type(error).__name__).splitlines()[0]


def sentence(error: OSError) -> str:
    """The file, the fault and, where there is one to name, the remedy."""
    if not error.filename and not error.strerror:
        return reason(error)  # written by a program for people, or by the library of an object store
    said = reason(error).lower()
    where = f"{error.filename}: {said}" if error.filename else said
    return "; ".join([where, *filter(None, [REMEDIES.get(error.errno or 0)])])
