"""What processes do with the embedded broker at the same time; they load nothing else of the tests."""

from kombu.connection import Connection
from kombu.entity import Exchange, Queue


def connect(folder: str) -> Connection:
    names = {"data_folder_in": folder, "data_folder_out": folder, "control_folder": folder}
    return Connection(
        "filesystem://",
        transport="voiceproject.filesystem_broker:Transport",
        transport_options=names | {"polling_interval": 0.0001},  # seconds
    )


def put(folder: str, messages: range) -> None:
    with connect(folder) as connection, connection.SimpleQueue("queue") as queue:
        for message in messages:
            queue.put(message)


def bind(folder: str, names: range) -> None:
    """Bind queues of new exchanges, as other processes do at the same time."""
    with connect(folder) as connection, connection.channel() as channel:
        for name in names:
            queue = Queue(f"queue-{name}", Exchange(f"exchange-{name}"), "key")
            queue(channel).declare()
            assert channel.get_table(f"exchange-{name}") == [("key", "", f"queue-{name}")]
