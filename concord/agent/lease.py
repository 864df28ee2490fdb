"""How long a claim may be relied on, and who sees to it that it may be for longer."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from concord.errors import ConcordError, Contention, DatabaseUnavailable
from concord.sql import claims

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta
    from typing import Self

    from concord.database import Database
    from concord.models import Claim

RENEW, WARN, END = 1 / 3, 0.8, 0.95
"""Parts of a lease after which it is renewed; its work is asked to end; its work is killed."""

RETRY = 0.5
"""Seconds between attempts to renew, at most; less for a short lease."""


class Lease:
    """A lease by our own clock, which is never later than the database's.

    It begins when the claim was sent: the database reckons from when it got it. The parts above
    leave a twentieth for a clock that runs slower than the database's.
    """

    def __init__(self, length: timedelta, sent: float) -> None:
        self.length = length
        self._seconds = length.total_seconds()
        self._sent = sent

    def renewed(self, sent: float) -> None:
        """Reckon from a renewal that was sent at this time of the monotonic clock."""
        self._sent = sent

    @property
    def renew_at(self) -> float:
        """When it is to be renewed, by the monotonic clock."""
        return self._sent + RENEW * self._seconds

    @property
    def warn_at(self) -> float:
        """When whoever works under it is to be asked to end."""
        return self._sent + WARN * self._seconds

    @property
    def end_at(self) -> float:
        """When nobody may work under it any more."""
        return self._sent + END * self._seconds

    @property
    def retry_after(self) -> float:
        """How many seconds to wait before another attempt to renew it."""
        return min(RETRY, self._seconds / 20)


class Keeper:
    """Renews a lease in a thread and on a connection of its own, until it is told to end.

    So neither a slow database nor one that never answers keeps anybody from looking after the
    work. `lost` is why the claim is gone, once it is; `wake` is called then.
    """

    def __init__(
        self,
        database: Database,
        task: int,
        claim: Claim,
        lease: Lease,
        wake: Callable[[], None],
    ) -> None:
        self.lost: ConcordError | None = None
        self._database = database
        self._task = task
        self._epoch = claim.epoch
        self._lease = lease
        self._wake = wake
        self._over = threading.Event()
        # A daemon: one that waits for a dead network is not worth waiting for.
        self._thread = threading.Thread(target=self._keep, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(timeout=self._lease.retry_after)

    def _keep(self) -> None:
        with self._database:
            wait = self._lease.renew_at - time.monotonic()
            while not self._over.wait(max(0, wait)):
                wait = self._renew()

    def _renew(self) -> float:
        """Try to renew; return after how many seconds to do so again."""
        sent = time.monotonic()
        try:
            self._database.run(claims.renew, self._task, self._epoch, lease=self._lease.length)
        except (DatabaseUnavailable, Contention):
            return self._lease.retry_after
        except ConcordError as error:
            self.lost = error
            self._wake()
            self._over.wait()
            return 0
        self._lease.renewed(sent)
        return self._lease.renew_at - time.monotonic()
