#!/usr/bin/python3
"""A peer of gssapi.Conn, written from the wire format alone (see type Conn):

    peer.py client HOST PORT SERVICE@HOST [cut] < what to send > the answer
    peer.py server [cut]

The server prints the port that it listens on, and sends one client all that it
sent back. With cut, what is sent has no end. The peer's name goes to standard error. The
exit status is 1 if what the peer sent has no end.
"""
import socket, struct, sys
import gssapi
from gssapi import NameType, RequirementFlag as Flag

def send(token):
    stream.write(struct.pack(">I", len(token)) + token)

def receive():
    stream.flush()
    head = stream.read(4)
    if len(head) < 4:
        sys.exit("the stream was cut")
    return stream.read(struct.unpack(">I", head)[0])

role, cut = sys.argv[1], sys.argv[-1] == "cut"
if role == "client":
    sock = socket.create_connection((sys.argv[2], int(sys.argv[3])))
    ctx = gssapi.SecurityContext(
        usage="initiate", name=gssapi.Name(sys.argv[4], NameType.hostbased_service),
        flags=[Flag.mutual_authentication, Flag.replay_detection, Flag.out_of_sequence_detection, Flag.confidentiality, Flag.integrity])
else:
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    sock, _ = listener.accept()
    ctx = gssapi.SecurityContext(usage="accept")
stream = sock.makefile("rwb")

token = ctx.step(None if role == "client" else receive())
while token or not ctx.complete:
    if token:
        send(token)
    token = None if ctx.complete else ctx.step(receive())
print(ctx.target_name if role == "client" else ctx.initiator_name, file=sys.stderr)

def say(messages):
    for message in messages:
        send(ctx.encrypt(message))
    if not cut:
        send(ctx.encrypt(b""))  # the end of stream

def hear():
    return list(iter(lambda: ctx.decrypt(receive()), b""))

if role == "client":
    say(iter(lambda: sys.stdin.buffer.read(10000), b""))
    sys.stdout.buffer.writelines(hear())
else:
    say(hear())
stream.flush()
