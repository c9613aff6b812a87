"""Posts webhooks to HAProxy until standard input ends: `source_of_webhooks.py ADDRESS PAUSE`. Prints a line for each, with
its number and the status of the response, or the name of the error. Nothing is repeated."""

import http.client
import itertools
import ssl
import sys
import threading
import time

CLIENTS = 6
"""The number of requests at a time; half of them over connections that stay open."""


def post(address: str, pause: float, first: int, ended: threading.Event) -> None:
    """Post those numbers that differ from the first one by multiples of CLIENTS."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = http.client.HTTPSConnection(address, timeout=90, context=context)
    for number in itertools.count(first, CLIENTS):
        if ended.is_set():
            return
        try:
            path = "/anywhere" if number % 3 else "/owner"
            connection.request("POST", path, str(number), {"Content-Type": "text/plain", "X-Id": str(number)})
            response = connection.getresponse()
            response.read()
            result = str(response.status)
        except (OSError, http.client.HTTPException) as error:
            result = type(error).__name__
            connection.close()
        sys.stdout.write(f"{number} {result}\n")
        sys.stdout.flush()
        if first % 2:
            connection.close()
        time.sleep(pause * CLIENTS)


def main() -> None:
    """Post with several threads."""
    address, pause = sys.argv[1], float(sys.argv[2])
    ended = threading.Event()
    threads = [threading.Thread(target=post, args=(address, pause, one, ended)) for one in range(CLIENTS)]
    for thread in threads:
        thread.start()
    sys.stdin.read()
    ended.set()
    for thread in threads:
        thread.join()


main()
