"""The endpoints of the web server: sockets, TLS certificates, the PROXY protocol, and the limits of connections."""

from errklein.listening._connections import (
    LARGEST_MESSAGE,
    ConnectionLimits,
    address_of,
    client_of,
    receive_frames,
    seconds_waited,
)
from errklein.listening._listeners import (
    SOCKETS,
    ListenError,
    Listeners,
    description_problem,
    endpoint_url,
    identify,
    listen_problem,
    shared_address,
    unix_problem,
)
