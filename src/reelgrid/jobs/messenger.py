"""Delivers the desk's notices, each at least once, however often the server dies in between.

A notice is written in the transaction that ends its job and struck off when its receiver has taken
it; between the two it belongs to whichever server holds its lease.
"""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final
from urllib.parse import urlsplit

from reelgrid.errors import BusyError, DeskError
from reelgrid.jobs import posting, webhook
from reelgrid.jobs.books import Notice
from reelgrid.jobs.desk import Books

_log = logging.getLogger(__name__)

_LEASE_S: Final = 120.0
_AT_ONCE: Final = 8
_GONE: Final = 410  # the receiver wants no more of it


class Messenger:
    """Sends what is due.

    Args:
        desk: Whose notices.
        master: From `webhook.read_master`.
        allows_private: Whether webhooks may go to addresses that are not public.
        timeout_s: For one attempt to connect, and again for the exchange.
        clock: Unix seconds, for the signatures.
    """

    def __init__(
        self,
        desk: Books,
        master: bytes,
        *,
        allows_private: bool = False,
        timeout_s: float = 10.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._desk = desk
        self._master = master
        self._allows_private = allows_private
        self._timeout_s = timeout_s
        self._clock = clock

    def run(self, stop: threading.Event, *, every_s: float = 1.0) -> None:
        """Send until `stop` is set; to be a thread of its own."""
        while not stop.is_set():
            try:
                is_more = self.send_due() == _AT_ONCE
            except (BusyError, DeskError) as error:
                _log.warning("webhooks have to wait: %s", error)
                is_more = False
            if not is_more:
                stop.wait(every_s)

    def send_due(self) -> int:
        """Send what is due now, side by side, and return how many attempts that were."""
        notices = self._desk.take_notices(limit=_AT_ONCE, lease_s=_LEASE_S)
        if notices:
            with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="webhook") as threads:
                list(threads.map(self._deliver, notices))
        return len(notices)

    def _deliver(self, notice: Notice) -> None:
        host = urlsplit(notice.url).hostname  # what comes behind it may be a secret
        about = {"job": notice.job, "event": notice.event, "host": host}
        failure = self._try(notice)
        if failure is None:
            _log.info("webhook of %s delivered", notice.job, extra=about)
            self._desk.settle_notice(notice, retry_in_s=None)
            return
        retry_in_s = None if failure.is_final else webhook.retry_in_s(notice.num_attempts)
        what = "given up" if retry_in_s is None else f"to be tried again in {retry_in_s:g} s"
        _log.warning("webhook of %s: %s: %s", notice.job, failure.reason, what, extra=about)
        self._desk.settle_notice(notice, retry_in_s=retry_in_s)

    def _try(self, notice: Notice) -> "_Failure | None":
        name, body = webhook.event_id(notice), webhook.event_body(notice)
        secret = webhook.secret_of(self._master, notice.owner)
        headers = webhook.signed_headers(name, body, secret, self._clock())
        try:
            status = posting.post(
                notice.url,
                body,
                headers,
                timeout_s=self._timeout_s,
                allows_private=self._allows_private,
            )
        except posting.Forbidden as error:
            return _Failure(str(error), is_final=True)
        except posting.PostError as error:
            return _Failure(str(error), is_final=False)
        if 200 <= status < 300:
            return None
        return _Failure(f"the answer was {status}", is_final=status == _GONE)


class _Failure:
    """Why an attempt failed, and whether there is no use in another."""

    def __init__(self, reason: str, *, is_final: bool) -> None:
        self.reason = reason
        self.is_final = is_final
