"""A workload as py-spiffe's users write it: it takes its identity, its trust and its tokens from the Workload API at
SPIFFE_ENDPOINT_SOCKET, talks mTLS to itself on new connections all the time, and says what it saw, one JSON document a
line. SIGTERM ends it, with the totals as the last line."""

import json
import signal
import socket
import ssl
import tempfile
import threading
import time

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from spiffe import JwtSource, X509Source
from spiffe.svid.jwt_svid import JwtSvid

AUDIENCE = "spiffe://foreign.test/audience"
PAUSE_S = 0.1
TIMEOUT_S = 30

stopped = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stopped.set())


def main() -> None:
    totals = {"handshakes": 0, "tokens": 0, "serials": [], "roots": [], "key_ids": [], "failures": []}
    with X509Source(timeout_in_seconds=TIMEOUT_S) as x509, JwtSource(timeout_in_seconds=TIMEOUT_S) as jwt:
        print(json.dumps({"x509": {"id": str(x509.get_x509_context().default_svid.spiffe_id)}}), flush=True)
        while not stopped.wait(PAUSE_S):
            for what, work in (("handshake", lambda: handshake(x509, totals)), ("token", lambda: token(jwt, totals))):
                try:
                    work()
                except Exception as error:  # whatever it is, it is to be counted
                    totals["failures"].append(f"{what}: {error!r}")
    print(json.dumps({"totals": totals}), flush=True)


def handshake(source: X509Source, totals: dict) -> None:
    """Both sides are made anew of what the source has now, as py-spiffe leaves TLS to its users."""
    now = source.get_x509_context()
    svid = now.default_svid
    roots = now.x509_bundle_set.get_bundle_for_trust_domain(svid.spiffe_id.trust_domain).x509_authorities
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(TIMEOUT_S)
    served = threading.Thread(target=serve, args=(listener, context(ssl.PROTOCOL_TLS_SERVER, svid, roots)))
    served.start()
    try:
        with socket.create_connection(listener.getsockname(), TIMEOUT_S) as plain:
            with context(ssl.PROTOCOL_TLS_CLIENT, svid, roots).wrap_socket(plain) as tls:
                # By the time that it answers, the server has verified its client too.
                if tls.recv(1) != b"1":
                    raise ConnectionError("the server broke off")
    finally:
        served.join()
        listener.close()
    totals["handshakes"] += 1
    note(totals["serials"], format(svid.leaf.serial_number, "x"))
    for root in roots:
        note(totals["roots"], format(root.serial_number, "x"))


def serve(listener: socket.socket, tls: ssl.SSLContext) -> None:
    try:
        connection, _ = listener.accept()
        with connection, tls.wrap_socket(connection, server_side=True) as wrapped:
            wrapped.sendall(b"1")
    except OSError:
        pass  # the client counts it


def context(protocol: int, svid, roots) -> ssl.SSLContext:
    made = ssl.SSLContext(protocol)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_REQUIRED
    made.load_verify_locations(cadata="".join(root.public_bytes(Encoding.PEM).decode() for root in roots))
    with tempfile.NamedTemporaryFile() as file:
        for certificate in svid.cert_chain:
            file.write(certificate.public_bytes(Encoding.PEM))
        file.write(svid.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        file.flush()
        made.load_cert_chain(file.name)
    return made


def token(source: JwtSource, totals: dict) -> None:
    svid = source.fetch_svid(audience={AUDIENCE})
    bundle = source.get_bundle_for_trust_domain(svid.spiffe_id.trust_domain)
    JwtSvid.parse_and_validate(svid.token, bundle, {AUDIENCE})
    totals["tokens"] += 1
    for key_id in bundle.jwt_authorities:
        note(totals["key_ids"], key_id)


def note(seen: list, one: str) -> None:
    if one not in seen:
        seen.append(one)


main()
