"""pysiaalarm as a receiver, in a process of its own: prints its port, then each event as a line of JSON.

python pysiaalarm_receiver.py tcp|udp KEY|- WINDOW|- ACCOUNT...
"""

import json
import logging
import sys

from pysiaalarm import CommunicationsProtocol, SIAAccount, SIAClient

protocol, key, window, *names = sys.argv[1:]
logging.disable(logging.CRITICAL)


def show(event):
    # One write a line: events come from many threads.
    sys.stdout.write(
        json.dumps(
            {
                "account": event.account,
                "sequence": int(event.sequence),
                "code": event.code,
                "ri": event.ri,
                "message": event.message,
                "extended": {item.identifier: item.value for item in event.extended_data or []},
                "encrypted": event.encrypted,
                "type": event.message_type.value,
            }
        )
        + "\n"
    )
    sys.stdout.flush()


accounts = [
    SIAAccount(name, None if key == "-" else key, allowed_timeband=None if window == "-" else (40, 20))
    for name in names
]
client = SIAClient("127.0.0.1", 0, accounts, show, protocol=CommunicationsProtocol(protocol.upper()))
print(client.sia_server.server_address[1], flush=True)
client.start()
sys.stdin.read()
client.stop()
