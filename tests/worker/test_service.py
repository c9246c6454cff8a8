"""What a start does besides its parts."""

import gc

from consumer.worker import service


class Client:
    """Tells when it is destroyed."""

    def __init__(self, destroyed: list[str]) -> None:
        self._destroyed = destroyed

    def __del__(self) -> None:
        self._destroyed.append("a client")


def test_a_start_destroys_no_garbage_since_clients_of_the_library_wait_for_brokers() -> None:
    destroyed: list[str] = []
    gc.disable()
    garbage: list[object] = [Client(destroyed)]
    garbage.append(garbage)  # only a collection destroys it
    del garbage
    service._tune_garbage_collector()
    gc.collect()
    assert destroyed == []
