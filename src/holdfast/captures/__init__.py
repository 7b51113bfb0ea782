"""Packets: who closed a connection, how, and after which silence, from what a capture file holds."""
