"""User errors: one line on stderr and exit code 2."""

from __future__ import annotations

import io
import sys
import traceback
from pathlib import Path

from bonestrap.options import UserError
from shards.errors import DataError, of_storage, sentence
from shards.storage.redaction import redacted


class UserErrors:
    """Turn what a user can fix, and what a disk or server does, into a sentence and exit code 2.

    Every other exception keeps its traceback. Neither shows the secrets of an address.
    """

    def __enter__(self) -> None:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")  # file names are bytes, and not always text
        sys.excepthook = lambda *raised: sys.stderr.write(redacted("".join(traceback.format_exception(*raised))))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, UserError | DataError):
            said = str(error)
        elif isinstance(error, OSError) and of_storage(error):
            said = sentence(error)
        elif isinstance(error, KeyboardInterrupt):
            print("stopped", file=sys.stderr)
            raise SystemExit(130) from None
        else:
            return
        print(redacted(f"{Path(sys.argv[0]).name}: {said}"), file=sys.stderr)
        raise SystemExit(2) from None
