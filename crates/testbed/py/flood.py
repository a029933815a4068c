"""Sends one frame as fast as it can on a link, and waits for the link whenever there is none."""
import socket
import sys

link, frame = sys.argv[1], bytes.fromhex(sys.argv[2])
while True:
    try:
        wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        wire.bind((link, 0))
        while True:
            wire.send(frame)
    except OSError:
        wire.close()
