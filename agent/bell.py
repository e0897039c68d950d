"""Wake whoever waits, without losing a ring that came before the wait."""

import trio


class Bell:
    """Any number of waiters; `ring` wakes all that wait and every `since` taken before it."""

    def __init__(self) -> None:
        self._event = trio.Event()

    def ring(self) -> None:
        self._event.set()
        self._event = trio.Event()

    def listen(self) -> trio.Event:
        """An event that the next `ring` sets. Take it before looking at what the bell announces, then wait on it."""
        return self._event
