#!/usr/bin/python3
"""A peer of package httpauth in Python, with http and gssapi:

    peer.py client HOST PORT [FILE]      gets / (or posts the file) and prints the answer
    peer.py server [silent|replay]       prints its port; answers who came and the hash of the body

The client's exit status is 1 if the server has not proved who it is. The server that is
silent does not prove it, and one that replays says what it said to the first client.
"""
import base64, hashlib, http.client, http.server, sys
import gssapi
from gssapi import NameType, RequirementFlag as Flag

def token(header):
    scheme, _, text = (header or "").partition(" ")
    return base64.b64decode(text) if scheme == "Negotiate" and text else None

def encode(token):
    return "Negotiate " + base64.b64encode(token).decode()

def client(host, port, file=None):
    body = open(file, "rb").read() if file else None
    ctx = gssapi.SecurityContext(
        usage="initiate", name=gssapi.Name("HTTP@" + host, NameType.hostbased_service),
        mech=gssapi.OID.from_int_seq("1.3.6.1.5.5.2"), flags=[Flag.mutual_authentication])
    conn = http.client.HTTPConnection("127.0.0.1", int(port), timeout=60)
    headers = {"Host": f"{host}:{port}"}
    conn.request("POST" if file else "GET", "/", body, headers)
    answer = conn.getresponse()
    answer.read()
    if answer.status != 401 or answer.getheader("WWW-Authenticate") != "Negotiate":
        sys.exit(f"the server does not demand Negotiate: {answer.status} {answer.getheader('WWW-Authenticate')}")
    headers["Authorization"] = encode(ctx.step()) # with Kerberos one leg is enough
    conn.request("POST" if file else "GET", "/", body, headers)
    answer = conn.getresponse()
    text = answer.read()
    if answer.status == 401:
        sys.exit("the server refuses the token")
    ctx.step(token(answer.getheader("WWW-Authenticate")))
    if not ctx.complete or not ctx.actual_flags & Flag.mutual_authentication:
        sys.exit("the server has not proved who it is")
    sys.stdout.write(text.decode())

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    first = None # token that was sent

    def do_GET(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        got, proof = token(self.headers.get("Authorization")), None
        if got:
            ctx = gssapi.SecurityContext(usage="accept")
            proof = ctx.step(got)
            if not ctx.complete:
                sys.exit("the client wants another leg")
            if Handler.first is None:
                Handler.first = proof
            if mode == "silent":
                proof = None
            elif mode == "replay":
                proof = Handler.first
            text = f"user: {ctx.initiator_name}\nbody: {hashlib.sha256(body).hexdigest()}\n"
        else:
            text = "log in\n"
        self.send_response(200 if got else 401)
        if not got or proof:
            self.send_header("WWW-Authenticate", encode(proof) if proof else "Negotiate")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    do_POST = do_GET

mode = sys.argv[2] if len(sys.argv) > 2 else ""
if sys.argv[1] == "client":
    client(*sys.argv[2:])
else:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()
