"""A packet socket for tests: each line of standard input is a frame to send, each line printed one received. When a
frame is on the link, `sent` is printed."""
import socket
import sys
import threading

OUTGOING = 4  # PACKET_OUTGOING (linux/if_packet.h): what this host sent itself
ETH_P_ALL = 3

link = sys.argv[1]
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
wire.bind((link, ETH_P_ALL))
# The kernel takes a VLAN tag off and gives it as auxiliary data; the test wants to see what was on the wire.
SOL_PACKET, PACKET_AUXDATA = 263, 8
wire.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)


def tagged(frame, ancillary):
    for level, kind, value in ancillary:
        if (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
            status = int.from_bytes(value[0:4], sys.byteorder)
            if status & 0x10:  # TP_STATUS_VLAN_VALID
                tag = int.from_bytes(value[16:18], sys.byteorder)
                kind = int.from_bytes(value[18:20], sys.byteorder)
                return frame[:12] + kind.to_bytes(2, "big") + tag.to_bytes(2, "big") + frame[12:]
    return frame


lock = threading.Lock()


def say(line):
    with lock:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def receive():
    while True:
        frame, ancillary, _, address = wire.recvmsg(65536, 256)
        if address[2] != OUTGOING:
            say(tagged(frame, ancillary).hex())


say("ready")
threading.Thread(target=receive, daemon=True).start()
for line in sys.stdin:
    wire.send(bytes.fromhex(line.strip()))
    say("sent")
